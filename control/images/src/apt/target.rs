//! What sources.list(5) comes to: one target for each suite and component of each mirror, as
//! `apt-get indextargets` tells them.

/// The fields that are asked for, one target a line.
pub(super) const FORMAT: &str = "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)";

/// A component of a suite on a mirror.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Whose it is, in the mirror's signed words: `Debian`.
    pub origin: String,
    /// The suite's code name: `bookworm`, `bookworm-updates`.
    pub codename: String,
    /// The component: `main`.
    pub component: String,
    /// The mirror's address, without a slash at its end.
    pub uri: String,
}

impl Target {
    /// Reads a line of [`FORMAT`]. A field that apt does not know it leaves as it stands, with its dollar; such a
    /// target, whose release file was never fetched, is none.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(4, '|');
        let mut field = || fields.next().filter(|text| !text.is_empty() && !text.contains(['$', ' ', '\t']));
        let target = Self {
            origin: field()?.to_owned(),
            codename: field()?.to_owned(),
            component: field()?.to_owned(),
            uri: field()?.trim_end_matches('/').to_owned(),
        };
        target.uri.contains(':').then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let target = Target::parse("Debian|bookworm-updates|main|http://deb.debian.org/debian/").unwrap();
        assert_eq!((&*target.origin, &*target.codename), ("Debian", "bookworm-updates"));
        assert_eq!((&*target.component, &*target.uri), ("main", "http://deb.debian.org/debian"));
        for line in
            ["", "Debian|bookworm|main", "Debian|bookworm|main|", "$(ORIGIN)|x|main|http://m/", "a|b|c|d"]
        {
            assert_eq!(Target::parse(line), None, "{line}");
        }
    }
}

//! What the host tells the agent about shared directories: `ringfence.share=TAG` on the kernel's command line, a word for
//! each. The agent mounts them at `/mnt/TAG`.

/// What the words begin with.
pub const SHARE_WORD: &str = "ringfence.share=";
/// Below which directory they are mounted.
pub const SHARES_AT: &str = "/mnt";

/// The tags that a kernel's command line names; what is no tag is passed over.
pub fn shares_in(command_line: &str) -> impl Iterator<Item = &str> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let words = command_line.split_ascii_whitespace().filter_map(|word| word.strip_prefix(SHARE_WORD));
    words.filter(move |tag| !tag.is_empty() && !tag.starts_with('.') && tag.bytes().all(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_names_and_no_paths() {
        let line = "panic=-1 ringfence.share=src ringfence.share=.. ringfence.share=a/b ringfence.share= \
                    ringfence.share=my-data_2.0\n";
        assert_eq!(shares_in(line).collect::<Vec<_>>(), ["src", "my-data_2.0"]);
    }
}

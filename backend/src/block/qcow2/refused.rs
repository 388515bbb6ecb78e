//! Why a qcow2 image is not used.

/// Why a qcow2 image is not used: what is wrong with it and, where there is something, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something else.
    #[error("it does not begin with qcow2's magic number; if it is a raw image, say format=raw")]
    Magic,
    /// It ends too early.
    #[error("its header is cut off")]
    Short,
    /// A version there is none of.
    #[error("it has version {0}, and there are 2 and 3")]
    Version(u32),
    /// Its tables are damaged.
    #[error("it is marked as corrupt; try `qemu-img check -r all` on a copy")]
    Corrupt,
    /// Its data is in another file.
    #[error("its data lies in another file; make it one file with `qemu-img convert -O qcow2`")]
    ExternalData,
    /// Something newer, or rare.
    #[error("it uses {0}, which is not supported; rewrite it with `qemu-img convert -O qcow2`")]
    Feature(&'static str),
    /// Encryption.
    #[error("it is encrypted, which is not supported; rewrite it with `qemu-img convert`")]
    Encrypted,
    /// Snapshots, and it was to be written.
    #[error(
        "it has snapshots, which writing would have to keep; open it read-only, or delete them with `qemu-img snapshot -d`"
    )]
    Snapshots,
    /// Clusters of a size that is not allowed.
    #[error("its clusters have 2^{0} bytes; 9 to 21 are allowed")]
    ClusterSize(u32),
    /// Too large.
    #[error("its disk has {0} bytes; up to 64 TiB are supported")]
    Size(u64),
    /// A table that cannot be.
    #[error("its {table} is {what}")]
    Table {
        /// Which.
        table: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// A field that cannot be.
    #[error("{0}")]
    Field(&'static str),
    /// A name without a format: it would have to be guessed.
    #[error(
        "it names the image behind it ({0:?}) but not that one's format, and formats are not guessed; say it with `qemu-img rebase -u -F FORMAT -b NAME`"
    )]
    BackingFormat(String),
    /// A format there is none of.
    #[error("the image behind it has the format {0:?}; raw and qcow2 are supported")]
    UnknownBacking(String),
    /// A table entry that contradicts another.
    #[error("cluster {0} is used twice; try `qemu-img check -r all` on a copy")]
    Twice(u64),
    /// An entry that no version allows.
    #[error("its {0} has an entry that cannot be; try `qemu-img check -r all` on a copy")]
    Entry(&'static str),
    /// Counts that were made up, or damaged.
    #[error("its reference counts are damaged; try `qemu-img check -r all` on a copy")]
    Counts,
    /// More than we count.
    #[error("it was not closed and is too large to be counted again here; use `qemu-img check -r all`")]
    TooLarge,
}

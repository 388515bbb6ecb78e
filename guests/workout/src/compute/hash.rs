//! Three hashes over one generated stream.

use md5::Md5;
use sha2::{Digest, Sha256, Sha512};

use crate::Scale;
use crate::digest::hex;
use crate::generate::Generator;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) {
    let [sha256, sha512, md5] = hashes(scale.stream);
    report.value("sha256", sha256);
    report.value("sha512", sha512);
    report.value("md5", md5);
}

/// SHA-256, SHA-512 and MD5 of so many megabytes.
fn hashes(megabytes: u32) -> [String; 3] {
    let (mut sha256, mut sha512, mut md5) = (Sha256::new(), Sha512::new(), Md5::new());
    let mut stream = Generator::new(64);
    let mut piece = vec![0; 1 << 16];
    for _ in 0..megabytes * 16 {
        stream.fill(&mut piece);
        sha256.update(&piece);
        sha512.update(&piece);
        md5.update(&piece);
    }
    [hex(&sha256.finalize()), hex(&sha512.finalize()), hex(&md5.finalize())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_another_implementation() {
        // Of the same megabyte by Python's hashlib.
        let [sha256, sha512, md5] = hashes(1);
        assert_eq!(sha256, "94d15e4282cef8a046ea5e1e6dae35049fa1846f387f85dba7441ba248897c2f");
        assert_eq!(
            sha512,
            "f3929b90e876ec9d01443decf7bf7396747c9150763d483474b7f1032be82e04\
             359663a1679a81cda29e95c76ba968b4a7cfea8bd4a19ec2c1295f314d9cf23c"
        );
        assert_eq!(md5, "c08d102ad6392776e0d5a5a2171ac620");
    }
}

//! What guests compute is what the host computes, by the same programs.

use anyhow::{Result, ensure};
use embedded::WORKOUT;
use ringfence_stories::{Native, Stage, Story};

pub const STORIES: &[Story] = &[
    Story::fast("computing::digests", digests),
    Story::each("computing::floating_point", floating_point),
    Story::fast("computing::compression", compression),
    Story::each("computing::workout", workout),
    Story::each("computing::cpus_against_each_other", cpus_against_each_other),
];

/// The guest prints what the host prints.
fn agrees(stage: &Stage, script: &str) -> Result<()> {
    let native = Native::prepare()?.shell(script)?.exits(0)?;
    ensure!(!native.stdout.is_empty() && native.stderr.is_empty(), "{native}");
    stage.shell(script).run()?.exits(0)?.prints(native.stdout)?;
    Ok(())
}

/// Of 64 MiB.
fn digests(stage: &Stage) -> Result<()> {
    let script = "yes 'Twas brillig, and the slithy toves' | head -c 67108864 > text
                  for digest in md5sum sha256sum sha512sum; do $digest text; done";
    agrees(stage, script)
}

/// By awk without functions (Debian's static busybox has none), and by bc with them.
fn floating_point(stage: &Stage) -> Result<()> {
    agrees(
        stage,
        r#"awk 'BEGIN {
               for (i = 1; i <= 50000; i++) {
                   sum += (i % 97) / (i + 0.25) - i * 1e-7
                   product = product * 1.0000001 + i / 3
                   whole += int(product) % 1009
               }
               printf "%.17g %.17g %e %g %.0f %d\n", sum, product, sum * 1e300, sum / 1e300, product, whole
               for (i = 1; i < 1e300; i *= 1234567.891) printf "%.15g %.3f %x\n", 1 / i, i / 3, i % 65521
           }'
           echo 'scale=60; 4 * a(1); e(1); sqrt(2); s(1) / c(1); l(10)' | bc -l
           echo '2 ^ 1000; 3 ^ 500 % (10 ^ 50 + 151)' | bc"#,
    )
}

/// There and back; both ways must agree with the host's.
fn compression(stage: &Stage) -> Result<()> {
    agrees(
        stage,
        "seq 1 150000 | awk '{ print $1, ($1 * 7919) % 100003 }' > text
         gzip -9 < text > text.gz; md5sum text text.gz
         gunzip < text.gz | cmp - text && echo same
         head -c 300000 text | bzip2 | tee text.bz2 | md5sum; bunzip2 < text.bz2 | md5sum",
    )
}

/// Processes, signals, mappings, pipes, threads, floating point, self-modifying code, time: the program comes in by
/// standard input.
fn workout(stage: &Stage) -> Result<()> {
    let words = ["all", "--stream", "4"];
    let native = Native::prepare()?.workout(&words)?.exits(0)?;
    let script = format!("cat > workout && chmod +x workout && ./workout {}", words.join(" "));
    stage.shell(&script).stdin(WORKOUT).run()?.prints(native.stdout)?.exits(0)?;
    Ok(())
}

/// On all vCPUs: locked counters, mappings that change, code that others write, futexes, signals, all at once.
fn cpus_against_each_other(stage: &Stage) -> Result<()> {
    let script = "cat > workout && chmod +x workout && ./workout stress --seconds 5";
    let run = stage.with_all_vcpus(["debian", "--", "sh", "-c", script]).stdin(WORKOUT);
    let ended = run.run()?.exits(0)?;
    ensure!(ended.out().lines().filter(|line| line.ends_with(": PASS")).count() == 7, "{ended}");
    Ok(())
}

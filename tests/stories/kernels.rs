//! Other kernels of Debian's reach their user space, and other machines than the usual one.

use anyhow::{Result, ensure};
use ringfence_stories::{Stage, Story};

pub const STORIES: &[Story] = &[
    Story::fast("kernels::the_one_for_real_machines", the_one_for_real_machines),
    Story::full("kernels::the_32_bit_one", the_32_bit_one),
    Story::each("kernels::the_plainest_cpu", the_plainest_cpu),
    Story::each("kernels::all_vcpus", all_vcpus),
];

fn the_one_for_real_machines(stage: &Stage) -> Result<()> {
    let ended = stage.ringfence(["debian-generic", "--", "uname", "-rm"]).run()?.exits(0)?;
    ensure!(ended.out().ends_with("-amd64 x86_64\n") && !ended.out().contains("cloud"), "{ended}");
    Ok(())
}

fn the_32_bit_one(stage: &Stage) -> Result<()> {
    let script = "uname -rm; grep -m1 -cw pae /proc/cpuinfo; exit 9";
    let ended = stage.ringfence(["debian-686-pae", "--", "sh", "-c", script]).run()?.exits(9)?;
    ensure!(ended.out().ends_with("-686-pae i686\n1\n"), "{ended}");
    Ok(())
}

fn the_plainest_cpu(stage: &Stage) -> Result<()> {
    let script = "grep -m1 -cwE 'sse4_2|popcnt|avx|aes' /proc/cpuinfo; grep -m1 -cw sse2 /proc/cpuinfo";
    let words = ["debian", "--cpu", "x86-64-v1", "--", "sh", "-c", script];
    stage.ringfence(words).run()?.exits(0)?.prints("0\n1\n")?;
    Ok(())
}

fn all_vcpus(stage: &Stage) -> Result<()> {
    let vcpus = stage.vcpus();
    let script = "nproc; grep -c ^processor /proc/cpuinfo";
    stage
        .with_all_vcpus(["debian", "--", "sh", "-c", script])
        .run()?
        .exits(0)?
        .prints(format!("{vcpus}\n{vcpus}\n"))?;
    Ok(())
}

//! Hardware virtualization: is /dev/kvm there, and is it real?
//!
//! A container may have the node without the right to use it, a kernel the module without a CPU for it, and some
//! sandboxes have a node that answers nothing. So a virtual machine is made whose only vCPU writes to a port, and
//! what comes back says more than any flag.
#![allow(unsafe_code)] // giving KVM the guest's memory is a promise about our own

use std::fs;
use std::io;
use std::time::Instant;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit};

use super::finding::{Finding, Status};
use super::probe::Probe;

/// Exits that are timed.
const ROUNDS: u32 = 1000;
/// Where the code lies, in guest-physical memory.
const AT: u64 = 0x1000;
/// `out 10h, al; jmp back`.
const CODE: [u8; 4] = [0xe6, 0x10, 0xeb, 0xfc];

/// The finding.
pub fn finding() -> Finding {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    judge(Probe::Kvm.run(), has_flag(&cpuinfo, &["vmx", "svm"]), &modules())
}

/// The modules behind /dev/kvm: kvm_intel, kvm_amd or something stranger.
fn modules() -> String {
    let entries = fs::read_dir("/sys/module").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("kvm_")).collect();
    names.sort();
    names.join(", ")
}

fn judge(tried: Result<String, String>, cpu: bool, modules: &str) -> Finding {
    let finding = |found: String, meaning| Finding::good("kvm", "KVM", found, meaning);
    let flags = if cpu { "the CPU has vmx or svm" } else { "the CPU shows neither vmx nor svm" };
    let own = "Guests run on Ringfence's own engine, which needs no KVM.";
    match (tried, cpu) {
        (Ok(cost), true) => finding(
            format!("real: a guest ran, an exit takes {cost} ns; {flags}"),
            "Hardware virtualization works here. This version of Ringfence does not use it yet.",
        ),
        (Ok(cost), false) => finding(
            format!("not real: a guest ran, an exit takes {cost} ns, but {flags} (modules: {modules})"),
            "Something imitates KVM, and many guests fail on it. Ringfence's own engine needs none.",
        )
        .but(Status::Limited, "none is needed; programs that insist on KVM want another host"),
        (Err(what), _) => {
            let advice = match (&what[..], cpu) {
                (what, _) if what.contains("ermission denied") => {
                    "join the group that owns it: sudo usermod -aG kvm $USER"
                }
                (what, true) if what.contains("No such file") => {
                    "sudo modprobe kvm_intel (or kvm_amd); in a container: pass /dev/kvm in"
                }
                (_, true) => "the node answers wrongly: load kvm_intel or kvm_amd on the host",
                (_, false) => {
                    "none is needed; for it: turn on VT-x or AMD-V in the firmware, or nested virtualization at the provider"
                }
            };
            finding(format!("{what}; {flags}"), own).but(Status::Missing, advice)
        }
    }
}

/// Makes a virtual machine and runs it. Gives the nanoseconds that an exit takes, or the step that failed.
pub fn try_it() -> Result<String, String> {
    let step =
        |what: &'static str| move |error: kvm_ioctls::Error| format!("{what}: {}", io::Error::from(error));
    let kvm = Kvm::new().map_err(step("opening /dev/kvm"))?;
    let version = kvm.get_api_version();
    if version != 12 {
        return Err(format!("KVM_GET_API_VERSION: {version} instead of 12"));
    }
    let vm = kvm.create_vm().map_err(step("KVM_CREATE_VM"))?;
    let page = Page::with(&CODE);
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: AT,
        memory_size: size_of::<Page>() as u64,
        userspace_addr: std::ptr::from_ref(&*page).addr() as u64,
    };
    // SAFETY: the page is ours, as large as said, and outlives the machine, which is dropped before it.
    unsafe { vm.set_user_memory_region(region) }.map_err(step("KVM_SET_USER_MEMORY_REGION"))?;
    let mut vcpu = vm.create_vcpu(0).map_err(step("KVM_CREATE_VCPU"))?;
    let mut sregs = vcpu.get_sregs().map_err(step("KVM_GET_SREGS"))?;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    vcpu.set_sregs(&sregs).map_err(step("KVM_SET_SREGS"))?;
    let mut regs = vcpu.get_regs().map_err(step("KVM_GET_REGS"))?;
    regs.rip = AT;
    regs.rflags = 2;
    vcpu.set_regs(&regs).map_err(step("KVM_SET_REGS"))?;
    let mut begin = Instant::now();
    for round in 0..=ROUNDS {
        match vcpu.run().map_err(step("KVM_RUN"))? {
            VcpuExit::IoOut(0x10, _) => {}
            other => return Err(format!("KVM_RUN: the guest did something else: {other:?}")),
        }
        if round == 0 {
            begin = Instant::now();
        }
    }
    Ok((begin.elapsed() / ROUNDS).as_nanos().to_string())
}

/// A page of memory for the guest.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

impl Page {
    fn with(code: &[u8]) -> Box<Self> {
        let mut page = Box::new(Self([0; 4096]));
        page.0[..code.len()].copy_from_slice(code);
        page
    }
}

/// Has the CPU one of these flags?
fn has_flag(cpuinfo: &str, wanted: &[&str]) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.trim_start().strip_prefix(':'));
    flags.is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| wanted.contains(&flag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_cpu() {
        let cpuinfo = "processor\t: 0\nflags\t\t: fpu svm_lock vmx sse\n";
        assert!(has_flag(cpuinfo, &["vmx", "svm"]));
        assert!(!has_flag(cpuinfo, &["svm"]));
        assert!(!has_flag("", &["svm"]));
    }

    #[test]
    fn each_failure_has_its_advice() {
        let advice = |what: &str, cpu| judge(Err(what.to_owned()), cpu, "").advice.unwrap();
        assert!(advice("opening /dev/kvm: Permission denied (os error 13)", true).contains("usermod"));
        assert!(
            advice("opening /dev/kvm: No such file or directory (os error 2)", true).contains("modprobe")
        );
        assert!(
            advice("opening /dev/kvm: No such file or directory (os error 2)", false)
                .contains("none is needed")
        );
        assert!(advice("KVM_CREATE_VM: x", true).contains("answers wrongly"));
    }

    #[test]
    fn a_machine_that_runs_without_a_cpu_for_it_is_an_imitation() {
        assert_eq!(judge(Ok("1200".to_owned()), true, "kvm_intel").status, Status::Good);
        let imitation = judge(Ok("17000".to_owned()), false, "kvm_pvm");
        assert_eq!(imitation.status, Status::Limited);
        assert!(imitation.found.starts_with("not real") && imitation.found.contains("kvm_pvm"));
    }

    #[test]
    fn trying_never_panics() {
        match try_it() {
            Ok(cost) => assert!(cost.parse::<u64>().is_ok()),
            Err(what) => assert!(what.contains(": "), "{what}"),
        }
    }
}

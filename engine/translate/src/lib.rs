//! The binary translator: guest code copied into a code cache and executed there.
//!
//! Guest and host have the same instruction set, so code is copied rather than compiled: registers stay in
//! registers, flags in EFLAGS, SSE and AVX are native. What changes is
//!
//! * memory operands, which are relocated through a flat table ([`map`]);
//! * control flow, which stays in the cache by links and a jump cache ([`emit`]);
//! * sensitive instructions, which leave the cache: the reference CPU executes them on the same state.
//!
//! Host faults ([`signal`]) take the place of checks: a page that is not mapped, a write to a page under
//! watch, a misaligned access, device memory, a division by zero all fault in the host, and the vCPU
//! ([`vcpu`]) finds out what the guest's instruction wanted and fills the map, or gives the instruction to
//! the reference CPU, which raises the guest's exception.
//!
//! User code that computes for long is copied otherwise and runs in a process of its own, whose page tables
//! are the guest's ([`mirror`]).
//!
//! Only 64-bit code is translated; everything else is interpreted.

#![deny(missing_docs)]

mod cache;
mod context;
mod counter;
mod counts;
mod emit;
mod enter;
mod frame;
mod host;
mod map;
mod memory;
mod mirror;
mod signal;
mod spaces;
mod station;
mod store;
mod vcpu;

use std::sync::Arc;

use base::GuestMemory;
use engine::{Attention, Board, CpuModel, Engine, EngineError, Vcpu};

/// The translator as an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Translator;

impl Translator {
    /// Can it run on this host? It needs BMI2 (flag-free shifts) and FSGSBASE.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn supported() -> Result<(), String> {
        if !std::arch::is_x86_feature_detected!("bmi2") {
            return Err(
                "the host CPU has no BMI2 (Haswell or Zen and later have); use --engine interpret".into()
            );
        }
        const HWCAP2_FSGSBASE: u64 = 2;
        // SAFETY: getauxval reads the process's auxiliary vector.
        #[allow(unsafe_code)]
        let hwcap2 = unsafe { libc::getauxval(libc::AT_HWCAP2) };
        if hwcap2 & HWCAP2_FSGSBASE == 0 {
            return Err(
                "the host kernel does not enable FSGSBASE (Linux 5.9 and later do); use --engine interpret"
                    .into(),
            );
        }
        Ok(())
    }
}

impl Translator {
    /// Can it run a machine of so many vCPUs and bytes of memory on this host?
    ///
    /// # Errors
    /// What is in the way, in words.
    pub fn fits(vcpus: u32, memory: u64) -> Result<(), String> {
        Self::supported()?;
        if context::contexts_each(vcpus).is_none() {
            return Err(format!(
                "the address space of a process does not hold the maps of {vcpus} vCPUs; use fewer, or --engine interpret"
            ));
        }
        if memory > base::PERIOD / 4 || memory::Mapping::reserve(map::ShadowMap::RESERVED).is_err() {
            return Err("there is no room for its tables (more than 4 TiB of guest memory, or ulimit -v); \
                        use --engine interpret"
                .into());
        }
        Ok(())
    }
}

/// The translator as it is on CPUs whose PEXT is slow: for tests on others.
#[derive(Clone, Copy, Debug, Default)]
pub struct WithoutExtract;

/// The translator with user code in mirrors from its first instruction, however little it computes: for tests. A budget of
/// instructions is only roughly kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mirrored {
    /// What mirrors keep of their own lies far from the program, where no address that errs by a few GiB leads: such an access must
    /// fault as it does without a mirror.
    pub far: bool,
}

/// The translator with all code linked across pages from its first instruction, as that of programs that have run for a while: for
/// tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linked;

/// What tests may want otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    /// The host's PEXT is an instruction like others.
    pub fast_extract: bool,
    /// User code runs in mirrors always.
    pub mirrors: Option<Mirrored>,
    /// Code is linked across pages always.
    pub spaces: bool,
}

impl Ways {
    /// As everybody wants it.
    fn usual() -> Self {
        Self { fast_extract: host::fast_extract(), mirrors: None, spaces: false }
    }
}

macro_rules! engine {
    ($engine:ty, $name:literal, $ways:expr) => {
        impl Engine for $engine {
            fn name(&self) -> &'static str {
                $name
            }

            fn vcpu(
                &self,
                index: u32,
                model: &CpuModel,
                memory: &Arc<GuestMemory>,
                attention: &Arc<Attention>,
                board: &Arc<dyn Board>,
            ) -> Result<Box<dyn Vcpu>, EngineError> {
                vcpu(index, model, memory, attention, board, $ways(self))
            }
        }
    };
}

engine!(Translator, "translate", |_| Ways::usual());
engine!(WithoutExtract, "translate", |_| Ways { fast_extract: false, ..Ways::usual() });
engine!(Mirrored, "mirrored", |of: &Self| Ways { mirrors: Some(*of), ..Ways::usual() });
engine!(Linked, "linked", |_| Ways { spaces: true, ..Ways::usual() });

fn vcpu(
    index: u32,
    model: &CpuModel,
    memory: &Arc<GuestMemory>,
    attention: &Arc<Attention>,
    board: &Arc<dyn Board>,
    ways: Ways,
) -> Result<Box<dyn Vcpu>, EngineError> {
    let unsupported = |reason| EngineError::Unsupported { engine: "translate", reason };
    Translator::fits(model.vcpus, memory.size()).map_err(unsupported)?;
    let vcpu = vcpu::Translated::new(index, *model, memory, attention, board, ways)
        .map_err(|source| EngineError::Host { what: "memory for the translator", source })?;
    Ok(Box::new(vcpu))
}

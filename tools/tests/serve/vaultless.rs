//! Where the kernel has no vault, sleepers end with their engine: so none is replaced.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::thread;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use crate::parts::Torpor;
use crate::sleeper::Sleeper;
use crate::upgrade::programs::{Programs, refuses};

#[test]
fn without_a_vault_an_upgrade_is_refused_and_everybody_sleeps_on() {
    // A filter lies over the thread that asks for it, and over its children.
    let start = || {
        forbid_tables();
        Torpor::start("")
    };
    let torpor = thread::spawn(start).join().expect("torpor starts");
    torpor.logged("no table can be registered in a ", "ring");
    let mut sleepers: Vec<Sleeper> = (0..3).map(|number| Sleeper::new(&torpor, number)).collect();
    let engine = torpor.engine_pids();
    let said = refuses(&torpor, &Programs::new().copy("new"));
    let expected = format!(
        "torpor: this kernel has no vault, so clients would be lost with their engines; torpor {} \
         serves as before\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(said, expected);
    sleepers.iter_mut().for_each(Sleeper::say);
    sleepers.iter_mut().for_each(Sleeper::hears);
    assert_eq!(torpor.engine_pids(), engine);
}

/// No ring of this thread and its children has a table (linux/io_uring.h:
/// IORING_REGISTER_FILES2), as where a sandbox knows the first calls of a ring alone.
fn forbid_tables() {
    let is_table =
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, REGISTER_FILES2);
    let rule = SeccompRule::new(vec![is_table.expect("a condition")]).expect("a rule");
    let rules = BTreeMap::from([(libc::SYS_io_uring_register, vec![rule])]);
    let refused = SeccompAction::Errno(libc::EINVAL as u32);
    let arch = ARCH.try_into().expect("a processor that has filters");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    apply_filter(&program).expect("the kernel has filters");
}

const REGISTER_FILES2: u64 = 13;

//! A TC program that is not ours: two instructions that pass every packet on. To see that ours leaves it alone.
//! Not here: our own programs (`isolator_agent::datapath`).
#![expect(unsafe_code, reason = "a program without an object file is loaded by bpf(2) itself")]

use crate::link::netlink;
use aya::programs::tc::{NlOptions, TcAttachOptions, TcAttachType};
use aya::programs::{LinkOrder, SchedClassifier};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type};
use futures::stream::StreamExt;
use rtnetlink::packet_route::tc::{TcAttribute, TcFilterBpfOption, TcOption};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// A foreign program at the ingress of an interface, until this value is dropped.
#[derive(Debug)]
pub struct Foreign {
    /// The kernel's number of it.
    pub id: u32,
    _program: SchedClassifier,
}

/// `r0 = TC_ACT_UNSPEC; exit`.
fn load() -> OwnedFd {
    let instruction =
        |code, imm| bpf_insn { code, _bitfield_align_1: [], _bitfield_1: Default::default(), off: 0, imm };
    let program = [instruction(0xb7, -1), instruction(0x95, 0)];
    // SAFETY: a union of integers, of which the kernel wants zeros in unused fields; the instructions and the
    // licence, which ends in a zero byte, outlive the call; the descriptor is new and ours.
    unsafe {
        let mut attr: bpf_attr = zeroed();
        attr.__bindgen_anon_3.prog_type = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32;
        attr.__bindgen_anon_3.insns = program.as_ptr() as u64;
        attr.__bindgen_anon_3.insn_cnt = program.len() as u32;
        attr.__bindgen_anon_3.license = c"GPL".as_ptr() as u64;
        let fd =
            libc::syscall(libc::SYS_bpf, bpf_cmd::BPF_PROG_LOAD as i32, &raw mut attr, size_of::<bpf_attr>());
        assert!(fd >= 0, "load: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd as i32)
    }
}

impl Foreign {
    /// Attaches at the end. `bpffs` is a directory for a pin that lives for a moment.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn attach(bpffs: &Path, interface: &str, clsact: bool) -> Foreign {
        let fd = load();
        let pin = bpffs.join("foreign");
        // aya adopts a program by its pin only.
        let path = std::ffi::CString::new(pin.as_os_str().as_encoded_bytes()).expect("path");
        // SAFETY: as in `load`.
        let pinned = unsafe {
            let mut attr: bpf_attr = zeroed();
            attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
            attr.__bindgen_anon_4.bpf_fd = fd.as_raw_fd() as u32;
            libc::syscall(libc::SYS_bpf, bpf_cmd::BPF_OBJ_PIN as i32, &raw mut attr, size_of::<bpf_attr>())
        };
        assert_eq!(pinned, 0, "pin: {}", std::io::Error::last_os_error());
        let mut program = SchedClassifier::from_pin(&pin).expect("from pin");
        std::fs::remove_file(&pin).expect("unpin");
        let options = if clsact {
            // Fine when there is a qdisc already.
            let _exists = aya::programs::tc::qdisc_add_clsact(interface);
            TcAttachOptions::Netlink(NlOptions::default())
        } else {
            TcAttachOptions::TcxOrder(LinkOrder::last())
        };
        program.attach_with_options(interface, TcAttachType::Ingress, options).expect("attach");
        Foreign { id: program.info().expect("info").id(), _program: program }
    }
}

/// Ids of all programs at the ingress of an interface, in the order they run.
///
/// # Panics
/// When the kernel refuses.
#[must_use]
pub fn programs(interface: &str, ifindex: u32, clsact: bool) -> Vec<u32> {
    if !clsact {
        let (_, programs) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress).expect("query");
        return programs.iter().map(aya::programs::ProgramInfo::id).collect();
    }
    netlink(async |handle| {
        let mut filters = handle.traffic_filter(ifindex as i32).get().ingress().execute();
        let mut ids = Vec::new();
        while let Some(Ok(filter)) = filters.next().await {
            for attribute in &filter.attributes {
                let TcAttribute::Options(options) = attribute else { continue };
                ids.extend(options.iter().filter_map(|option| match option {
                    TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
                    _ => None,
                }));
            }
        }
        ids
    })
}

//! Our filters on the clsact qdisc, for kernels without TCX: add or replace, list, remove. A filter is ours by
//! handle and name. Not here: TCX links (`bpf`), which interfaces (`attach`).

use super::hook::Hook;
use super::netlink::Route;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// First of all: a filter before ours that lets a packet pass would let it pass us, too.
const PRIORITY: u32 = 1;
/// "isol" in ASCII.
const HANDLE: TcHandle = TcHandle { major: 0x6973, minor: 0x6f6c };
/// `ETH_P_ALL` of `include/uapi/linux/if_ether.h`.
const ALL_PROTOCOLS: u16 = 3;

/// A filter of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) hook: Hook,
    /// The kernel's number of the program.
    pub(crate) program: u32,
    /// No other filter runs before it.
    pub(crate) first: bool,
}

fn name(hook: Hook) -> String {
    format!("isolator:{}", hook.program())
}

fn message(ifindex: u32, hook: Hook) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = ifindex as i32;
    let minor = if hook.arriving() { TcHandle::MIN_INGRESS } else { TcHandle::MIN_EGRESS };
    message.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor };
    message
}

fn ours(ifindex: u32, hook: Hook) -> TcMessage {
    let mut message = message(ifindex, hook);
    message.header.handle = HANDLE;
    message.header.info = (PRIORITY << 16) | u32::from(ALL_PROTOCOLS.to_be());
    message.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    message
}

/// Puts a program on an interface, in place of an earlier one of ours: every packet meets one of them.
pub(crate) fn put(route: &Route, ifindex: u32, hook: Hook, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut qdisc = TcMessage::default();
    qdisc.header.index = ifindex as i32;
    qdisc.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    qdisc.header.parent = TcHandle::CLSACT;
    qdisc.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    match route.change(RouteNetlinkMessage::NewQueueDiscipline(qdisc), NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut filter = ours(ifindex, hook);
    let options = [
        TcFilterBpfOption::ProgFd(program.as_raw_fd() as u32),
        TcFilterBpfOption::ProgName(name(hook)),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    filter.attributes.push(TcAttribute::Options(options.into_iter().map(TcOption::Bpf).collect()));
    route.change(RouteNetlinkMessage::NewTrafficFilter(filter), NLM_F_CREATE)
}

/// Our filter on an interface and side, if it is there.
pub(crate) fn get(route: &Route, ifindex: u32, hook: Hook) -> io::Result<Option<Filter>> {
    let answers = route.dump(RouteNetlinkMessage::GetTrafficFilter(message(ifindex, hook)))?;
    let mut first = true;
    for answer in answers {
        let RouteNetlinkMessage::NewTrafficFilter(found) = answer else { continue };
        // Each priority is listed once without a handle, before its filters.
        if found.header.handle == TcHandle::UNSPEC {
            continue;
        }
        if let Some(program) = program(&found, hook) {
            return Ok(Some(Filter { hook, program, first }));
        }
        first = false;
    }
    Ok(None)
}

/// The program of a filter that is ours.
fn program(filter: &TcMessage, hook: Hook) -> Option<u32> {
    if filter.header.handle != HANDLE || filter.header.info >> 16 != PRIORITY {
        return None;
    }
    let (mut named, mut id) = (false, None);
    for attribute in &filter.attributes {
        let TcAttribute::Options(options) = attribute else { continue };
        for option in options {
            match option {
                TcOption::Bpf(TcFilterBpfOption::ProgName(found)) => named = *found == name(hook),
                TcOption::Bpf(TcFilterBpfOption::ProgId(found)) => id = Some(*found),
                _ => {}
            }
        }
    }
    id.filter(|_| named)
}

/// Removes our filter and leaves the qdisc, which others may use.
pub(crate) fn remove(route: &Route, ifindex: u32, hook: Hook) -> io::Result<()> {
    route.change(RouteNetlinkMessage::DelTrafficFilter(ours(ifindex, hook)), 0)
}

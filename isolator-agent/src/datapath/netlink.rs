//! Questions to the kernel's routing tables (rtnetlink), one at a time, from the network namespace that this
//! thread is in: interfaces, addresses, marks, numbers of namespaces. Blocking, because a thread that has entered
//! another namespace must not run anything else. Not here: filters (`filter`), changes (`discover::watch`).

use isolator_common::addr::Addr;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How often a dump that a change has cut short is tried again.
const TRIES: usize = 16;

/// A socket to the kernel in this thread's network namespace. It stays in that namespace.
pub(crate) struct Route(Socket);

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// Kind of a virtual interface (`veth`); empty for hardware.
    pub(crate) kind: String,
    /// The interface's other end, or the one it lies on.
    pub(crate) peer: Option<u32>,
    /// Number of the namespace that `peer` is in, as seen from here; `None`: this one.
    pub(crate) peer_namespace: Option<i32>,
    pub(crate) layer: Layer,
}

/// What frames of an interface begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// It is the loopback interface.
    Loopback,
    /// An Ethernet header.
    Ethernet,
    /// The IP header.
    Network,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) ifindex: u32,
    pub(crate) addr: Addr,
    /// Valid beyond its own link.
    pub(crate) global: bool,
}

impl Route {
    /// Opens a socket in this thread's network namespace.
    pub(crate) fn open() -> io::Result<Route> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Route(socket))
    }

    /// Sends a request that changes something, and waits for the answer.
    pub(crate) fn change(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(message, NLM_F_ACK | flags).map(drop)
    }

    /// Asks for a list.
    pub(crate) fn dump(&self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..TRIES {
            let (answers, interrupted) = self.ask(message.clone(), NLM_F_DUMP)?;
            if !interrupted {
                return Ok(answers);
            }
        }
        Err(io::Error::other("interfaces change faster than they can be listed"))
    }

    /// One request. Also says whether a change cut the answer short.
    fn ask(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let (mut answers, mut interrupted) = (Vec::new(), false);
        loop {
            let (bytes, _) = self.0.recv_from_full()?;
            let mut rest = &bytes[..];
            while rest.len() >= 16 {
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                if length < 16 || length > rest.len() {
                    return Err(io::Error::other("a netlink message ends too early"));
                }
                match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&rest[..length]) {
                    Ok(answer) => {
                        interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                        match answer.payload {
                            NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                            NetlinkPayload::Done(_) => return Ok((answers, interrupted)),
                            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                            NetlinkPayload::Error(_) => return Ok((answers, interrupted)),
                            _ => {}
                        }
                    }
                    // One odd interface must not hide all others.
                    Err(error) => {
                        tracing::warn!(%error, "a netlink message that cannot be read was left out");
                    }
                }
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
    }

    /// All interfaces by index.
    pub(crate) fn links(&self) -> io::Result<BTreeMap<u32, Link>> {
        let answers = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some((message.header.index, link(&message))),
                _ => None,
            })
            .collect())
    }

    /// All addresses.
    pub(crate) fn addresses(&self) -> io::Result<Vec<Owned>> {
        let answers = self.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => address(message),
                _ => None,
            })
            .collect())
    }

    /// Marks that rules of routing look for, of both families: value and mask.
    pub(crate) fn marks(&self) -> io::Result<BTreeSet<(u32, u32)>> {
        let answers = self.dump(RouteNetlinkMessage::GetRule(RuleMessage::default()))?;
        let mark = |answer: &RouteNetlinkMessage| {
            let RouteNetlinkMessage::NewRule(rule) = answer else { return None };
            let mut mark = (0, u32::MAX);
            for attribute in &rule.attributes {
                match attribute {
                    RuleAttribute::FwMark(value) => mark.0 = *value,
                    RuleAttribute::FwMask(mask) => mark.1 = *mask,
                    _ => {}
                }
            }
            Some(mark)
        };
        Ok(answers.iter().filter_map(mark).collect())
    }

    /// The number of another network namespace as seen from here; `None` when it has none, which means that no
    /// interface here has its other end there.
    pub(crate) fn namespace(&self, other: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(other.as_raw_fd() as u32));
        let (answers, _) = self.ask(RouteNetlinkMessage::GetNsId(message), NLM_F_ACK)?;
        Ok(answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewNsId(message) => {
                message.attributes.iter().find_map(|attribute| match attribute {
                    NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                    _ => None,
                })
            }
            _ => None,
        }))
    }
}

fn link(message: &LinkMessage) -> Link {
    let layer = match message.header.link_layer_type {
        LinkLayerType::Loopback => Layer::Loopback,
        LinkLayerType::Ether => Layer::Ethernet,
        _ => Layer::Network,
    };
    let mut link = Link { name: String::new(), kind: String::new(), peer: None, peer_namespace: None, layer };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Link(peer) => link.peer = Some(*peer),
            LinkAttribute::LinkNetNsId(id) => link.peer_namespace = Some(*id),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind_name(kind);
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn kind_name(kind: &InfoKind) -> String {
    match kind {
        InfoKind::Veth => "veth".to_owned(),
        InfoKind::Netkit => "netkit".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn address(message: &AddressMessage) -> Option<Owned> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point interface `Address` is the other end's.
            AddressAttribute::Local(ip) => found = Some(*ip),
            AddressAttribute::Address(ip) if found.is_none() => found = Some(*ip),
            _ => {}
        }
    }
    let addr = match found? {
        IpAddr::V4(ip) => Addr::v4(ip.octets()),
        IpAddr::V6(ip) => Addr(ip.octets()),
    };
    let global =
        matches!(message.header.scope, AddressScope::Universe | AddressScope::Site) && !addr.is_link_local();
    Some(Owned { ifindex: message.header.index, addr, global })
}

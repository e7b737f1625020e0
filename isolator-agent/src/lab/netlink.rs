//! Links, addresses, neighbours and routes of one network namespace, over netlink. Not here: which ones (`build`).

use super::addresses::{Range, width};
use super::netns::Netns;
use anyhow::{Context, Result};
use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The hardware address of the router's side of every link, in this lab as in Calico.
pub(crate) const ROUTER_MAC: [u8; 6] = [0xee; 6];
/// Its link-local address, of the form that RFC 4291, appendix A, gives to [`ROUTER_MAC`]: the gateway for IPv6.
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);
/// The gateway for IPv4. No interface has it: a permanent neighbour entry answers for it.
const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The hardware address of the host's side of a link to the fabric. One for all: each link has only two ends.
pub(crate) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Its link-local address.
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);
/// What the fabric calls a host of either family at the other end of a link, as [`ROUTER_V4`].
const HOST_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 2);

/// Length of the prefix of link-local addresses.
const LINK_LOCAL_BITS: u8 = 64;

/// What one end of a pair of interfaces is called.
pub(crate) struct End<'a> {
    /// Its name, at most 15 bytes.
    pub(crate) name: &'a str,
    /// Its hardware address; the kernel chooses one where `None`.
    pub(crate) mac: Option<[u8; 6]>,
}

/// Access to the interfaces of one network namespace.
#[derive(Clone)]
pub(crate) struct Links {
    handle: Handle,
}

impl Links {
    /// Connects to the kernel from inside `netns`. Must be called within a tokio runtime.
    pub(crate) fn connect(netns: &Netns) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = netns.run(|| {
            let _inside = runtime.enter();
            rtnetlink::new_connection().context("cannot open a netlink socket")
        })?;
        runtime.spawn(connection);
        Ok(Links { handle })
    }

    /// Makes a pair of interfaces: `here` in this namespace, up, and `there` in another. The kernel does not let
    /// the second be made up. Returns the index of `here`.
    pub(crate) async fn add_pair(&self, here: &End<'_>, there: &End<'_>, other: &Netns) -> Result<u32> {
        let mut peer = LinkMessageBuilder::<LinkUnspec>::default().name(there.name).setns_by_fd(other.fd());
        if let Some(mac) = there.mac {
            peer = peer.address(mac.to_vec());
        }
        let mut link = LinkVeth::new(here.name, there.name).up();
        if let Some(mac) = here.mac {
            link = link.address(mac.to_vec());
        }
        let message = link.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build()))).build();
        let made = self.handle.link().add(message).execute().await;
        made.with_context(|| format!("cannot add the interfaces {} and {}", here.name, there.name))?;
        self.index(here.name).await
    }

    /// Makes a bridge, up, and returns its index.
    pub(crate) async fn add_bridge(&self, name: &str, mac: [u8; 6]) -> Result<u32> {
        let made =
            self.handle.link().add(LinkBridge::new(name).address(mac.to_vec()).build()).execute().await;
        made.with_context(|| format!("cannot add the bridge {name}; the kernel needs CONFIG_BRIDGE"))?;
        self.index(name).await
    }

    /// Makes the interface a port of the bridge.
    pub(crate) async fn add_port(&self, bridge: u32, index: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).controller(bridge).build();
        let set = self.handle.link().set(message).execute().await;
        set.with_context(|| format!("cannot make interface {index} a port of bridge {bridge}"))?;
        // A pod may reach itself through a service: the packet leaves by the port that it came by.
        let message = LinkBridgePort::new(index).hairpin(true).build();
        let set = self.handle.link().set_port(message).execute().await;
        set.with_context(|| format!("cannot let interface {index} send back what it gets"))
    }

    /// Sets the interface up.
    pub(crate) async fn set_up(&self, index: u32) -> Result<()> {
        let set = self.handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await;
        set.with_context(|| format!("cannot set interface {index} up"))
    }

    /// Removes the interface, and its other end with it.
    pub(crate) async fn remove(&self, index: u32) -> Result<()> {
        let gone = self.handle.link().del(index).execute().await;
        gone.with_context(|| format!("cannot remove interface {index}"))
    }

    /// Sets the interfaces of a host behind one link up, and returns the index of its uplink.
    pub(crate) async fn set_host_up(&self, uplink: &str) -> Result<u32> {
        let (loopback, uplink) = (self.index("lo").await?, self.index(uplink).await?);
        self.set_up(loopback).await?;
        self.set_up(uplink).await?;
        Ok(uplink)
    }

    /// The index of the interface of this name.
    pub(crate) async fn index(&self, name: &str) -> Result<u32> {
        let mut found = self.handle.link().get().match_name(name).execute();
        let link = found.try_next().await.with_context(|| format!("cannot find the interface {name}"))?;
        Ok(link.with_context(|| format!("there is no interface {name}"))?.header.index)
    }

    /// Gives the interface an address.
    pub(crate) async fn add_address(&self, index: u32, address: IpAddr, bits: u8) -> Result<()> {
        let mut request = self.handle.address().add(index, address, bits);
        // Usable at once: nobody else in the lab has it.
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        let added = request.execute().await;
        added.with_context(|| format!("cannot add the address {address}/{bits}"))
    }

    /// Makes `address` belong to a hardware address for good.
    async fn add_neighbour(&self, index: u32, address: IpAddr, mac: [u8; 6]) -> Result<()> {
        let added = self.handle.neighbours().add(index, address).link_layer_address(&mac).execute().await;
        added.with_context(|| format!("cannot add the neighbour {address}"))
    }

    /// Routes `to` over the interface: to its neighbours, or to a gateway that is taken to be one. `source` is
    /// the address that this host's own packets leave with.
    pub(crate) async fn add_route(
        &self,
        to: Range,
        index: u32,
        via: Option<IpAddr>,
        source: Option<IpAddr>,
    ) -> Result<()> {
        let mut route = route_to(to)?.output_interface(index);
        route = match via {
            Some(gateway) => route.gateway(gateway)?.onlink(),
            None => route.scope(RouteScope::Link),
        };
        if let Some(source) = source {
            route = route.pref_source(source)?;
        }
        let added = self.handle.route().add(route.build()).execute().await;
        added.with_context(|| format!("cannot add the route to {to}"))
    }

    /// Removes the route to `to`.
    pub(crate) async fn remove_route(&self, to: Range) -> Result<()> {
        // Zero matches any type and any scope.
        let route = route_to(to)?.scope(RouteScope::NoWhere).kind(RouteType::Unspec).build();
        let gone = self.handle.route().del(route).execute().await;
        gone.with_context(|| format!("cannot remove the route to {to}"))
    }

    /// Makes this the router's side of a link.
    pub(crate) async fn be_router(&self, index: u32) -> Result<()> {
        self.add_address(index, ROUTER_V6.into(), LINK_LOCAL_BITS).await
    }

    /// Makes this the side of a host of the fabric. The router must be told by [`Links::know_host`].
    pub(crate) async fn be_host(&self, index: u32) -> Result<()> {
        self.add_address(index, HOST_V6.into(), LINK_LOCAL_BITS).await
    }

    /// Prepares for [`Links::route_to_router`]: IPv6 finds the other end by neighbour discovery, IPv4 needs this.
    pub(crate) async fn know_router(&self, index: u32) -> Result<()> {
        self.add_neighbour(index, ROUTER_V4.into(), ROUTER_MAC).await
    }

    /// Prepares for [`Links::route_to_host`].
    pub(crate) async fn know_host(&self, index: u32) -> Result<()> {
        self.add_neighbour(index, HOST_V4.into(), HOST_MAC).await
    }

    /// Routes `to` to the router at the other end of the link.
    pub(crate) async fn route_to_router(&self, to: Range, index: u32, source: Option<IpAddr>) -> Result<()> {
        let gateway = if to.base.is_ipv4() { ROUTER_V4.into() } else { ROUTER_V6.into() };
        self.add_route(to, index, Some(gateway), source).await
    }

    /// Routes `to` to the host at the other end of the link.
    pub(crate) async fn route_to_host(&self, to: Range, index: u32) -> Result<()> {
        let gateway = if to.base.is_ipv4() { HOST_V4.into() } else { HOST_V6.into() };
        self.add_route(to, index, Some(gateway), None).await
    }
}

fn route_to(to: Range) -> Result<RouteMessageBuilder<IpAddr>> {
    debug_assert!(u32::from(to.bits) <= width(to.base));
    Ok(RouteMessageBuilder::<IpAddr>::new().destination_prefix(to.base, to.bits)?)
}

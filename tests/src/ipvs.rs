//! Virtual services of IPVS in this thread's network namespace, by the socket options of `ip_vs.h` (IPv4 only, which
//! is enough to see what IPVS does to a packet). Not here: the address that such a service has (`link`).
#![expect(unsafe_code, reason = "these socket options have no safe wrapper")]

use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};

/// `IP_VS_SO_SET_ADD` and `IP_VS_SO_SET_ADDDEST` of `include/uapi/linux/ip_vs.h`.
const ADD_SERVICE: i32 = 0x482;
const ADD_DESTINATION: i32 = 0x487;
const UDP: u16 = 17;

/// `struct ip_vs_service_user`. Addresses and ports in network byte order.
#[repr(C)]
#[derive(Clone, Copy)]
struct ServiceUser {
    protocol: u16,
    addr: u32,
    port: u16,
    fwmark: u32,
    scheduler: [u8; 16],
    flags: u32,
    timeout: u32,
    netmask: u32,
}

/// `struct ip_vs_dest_user`. Flags 0: the destination address is translated.
#[repr(C)]
#[derive(Clone, Copy)]
struct DestinationUser {
    addr: u32,
    port: u16,
    flags: u32,
    weight: i32,
    most: u32,
    least: u32,
}

/// IPVS of one network namespace.
#[derive(Debug)]
pub struct Ipvs(OwnedFd);

impl Ipvs {
    /// `None` where this kernel has no IPVS.
    ///
    /// # Panics
    /// When the kernel gives no raw socket.
    #[must_use]
    pub fn open() -> Option<Ipvs> {
        let raw = Protocol::from_raw(255.try_into().ok()?);
        let ipvs = Ipvs(socket(AddressFamily::INET, SocketType::RAW, Some(raw)).expect("a raw socket"));
        match ipvs.set(ADD_SERVICE, &[0_u8; 0]) {
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => None,
            _ => Some(ipvs),
        }
    }

    /// A virtual service for UDP, and the one destination behind it.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn add(&self, service: SocketAddrV4, destination: SocketAddrV4) {
        let mut scheduler = [0; 16];
        scheduler[..2].copy_from_slice(b"rr");
        let service = ServiceUser {
            protocol: UDP,
            addr: u32::from_ne_bytes(service.ip().octets()),
            port: service.port().to_be(),
            fwmark: 0,
            scheduler,
            flags: 0,
            timeout: 0,
            netmask: u32::MAX,
        };
        let destination = DestinationUser {
            addr: u32::from_ne_bytes(destination.ip().octets()),
            port: destination.port().to_be(),
            flags: 0,
            weight: 1,
            most: 0,
            least: 0,
        };
        self.set(ADD_SERVICE, &service).expect("add a virtual service");
        self.set(ADD_DESTINATION, &(service, destination)).expect("add a destination");
    }

    fn set<T>(&self, option: i32, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel reads `length` bytes of a value that outlives the call.
        let done = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_IP,
                option,
                std::ptr::from_ref(value).cast(),
                length,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

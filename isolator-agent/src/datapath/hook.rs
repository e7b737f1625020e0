//! Our programs at TC, as data: name, side of the interface. Not here: attaching (`attach`, `filter`).

use isolator_common::policy::Direction;

/// A program that hangs on interfaces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hook {
    /// What a pod sends.
    FromPod,
    /// What a pod receives.
    ToPod,
    /// What leaves the node by a device with Ethernet headers: judges what was sent to Service addresses.
    ToWire,
    /// The same for a device without.
    ToTunnel,
}

impl Hook {
    /// All of them.
    pub const ALL: [Hook; 4] = [Hook::FromPod, Hook::ToPod, Hook::ToWire, Hook::ToTunnel];
    /// Those on the interfaces of pods.
    pub const POD: [Hook; 2] = [Hook::FromPod, Hook::ToPod];
    /// Those on other interfaces.
    pub const WAY: [Hook; 2] = [Hook::ToWire, Hook::ToTunnel];

    /// Name of the program; also of its pins.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Hook::FromPod => "from_pod",
            Hook::ToPod => "to_pod",
            Hook::ToWire => "to_wire",
            Hook::ToTunnel => "to_tunnel",
        }
    }

    /// Whether it sees what arrives at the interface, or what leaves by it.
    #[must_use]
    pub const fn arriving(self) -> bool {
        matches!(self, Hook::FromPod)
    }

    /// Whether it belongs on the interface of a pod.
    #[must_use]
    pub const fn of_pod(self) -> bool {
        matches!(self, Hook::FromPod | Hook::ToPod)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl From<Direction> for Hook {
    fn from(direction: Direction) -> Hook {
        match direction {
            Direction::Egress => Hook::FromPod,
            Direction::Ingress => Hook::ToPod,
        }
    }
}

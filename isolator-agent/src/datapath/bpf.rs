//! The bpf(2) calls that aya has no safe form of: batches of map entries, maps as plain bytes, TCX links by
//! interface index. Each function here is safe to call: sizes come from the kernel, not from the caller.
//! Not here: loading of programs and maps (`load`, through aya), the meaning of any byte.
#![expect(
    unsafe_code,
    reason = "bpf(2) takes untyped pointers; every buffer is checked against the map's sizes"
)]

use super::hook::Hook;
use aya_obj::generated::{
    BPF_F_BEFORE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_map_type,
};
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use zerocopy::IntoBytes;

/// What the kernel says when a map type has no batch operations: `ENOTSUPP` of `include/linux/errno.h`, which
/// is not meant for user space and has no name there.
const ENOTSUPP: i32 = 524;

/// The kernel rounds the size of array elements up to this, bytes.
const WORD: usize = size_of::<u64>();

/// One call. A negative answer is an error.
fn bpf(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: `attr` is a whole, initialised bpf_attr. What its pointers must point to is the business of each
    // caller in this file.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, cmd as libc::c_int, attr, size_of::<bpf_attr>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as i32) }
}

fn empty() -> bpf_attr {
    // SAFETY: bpf_attr is a union of integers; zero is what the kernel wants in unused fields.
    unsafe { zeroed() }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Whether an error says that the kernel, or this map type, has no such batch operation.
pub(crate) fn unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOTSUPP | libc::EINVAL | libc::EOPNOTSUPP))
}

/// A map as bytes. Key and value buffers have exactly [`Bytes::key_size`] and [`Bytes::value_size`] bytes.
#[derive(Debug)]
pub(crate) struct Bytes {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl Bytes {
    /// Takes the sizes from the kernel's own description of the map. `value_size` is the size of a value in
    /// user space, which for per-CPU maps is that of all CPUs together.
    pub(crate) fn new(map: &aya::maps::MapData, per_cpu: bool) -> io::Result<Bytes> {
        let info = map.info().map_err(io::Error::other)?;
        let mut value_size = info.value_size() as usize;
        if per_cpu {
            let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
            value_size = value_size.next_multiple_of(8) * cpus;
        }
        let fd = map.fd().as_fd().try_clone_to_owned()?;
        Ok(Bytes { fd, key_size: info.key_size() as usize, value_size })
    }

    /// Bytes of a key.
    pub(crate) fn key_size(&self) -> usize {
        self.key_size
    }

    /// Bytes of a value.
    pub(crate) fn value_size(&self) -> usize {
        self.value_size
    }

    fn element(&self, key: Option<&[u8]>, other: u64) -> bpf_attr {
        let mut attr = empty();
        // SAFETY: writing plain integers of a union; the kernel reads this variant for element commands.
        let element = unsafe { &mut attr.__bindgen_anon_2 };
        element.map_fd = self.fd.as_raw_fd() as u32;
        if let Some(key) = key {
            assert_eq!(key.len(), self.key_size, "key size");
            element.key = key.as_ptr() as u64;
        }
        element.__bindgen_anon_1.value = other;
        attr
    }

    /// Shows the values of a mappable array to `see`, those at `range`, without a call for each; but those that
    /// are zero. Where `range` begins is a multiple of a page's bytes. The kernel writes meanwhile: what changes may
    /// be seen torn.
    pub(crate) fn scan_mapped(&self, range: Range<u32>, mut see: impl FnMut(u32, &[u8])) -> io::Result<()> {
        let stride = self.value_size.next_multiple_of(WORD);
        let length = stride * range.len();
        if length == 0 {
            return Ok(());
        }
        // SAFETY: a new mapping wherever there is room; the kernel checks length and kind of the map.
        let start = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::POPULATE,
                &self.fd,
                stride as u64 * u64::from(range.start),
            )
        }?;
        let words = stride / WORD;
        let mut value = vec![0_u64; words];
        for (place, index) in range.enumerate() {
            let mut some = 0;
            for (i, word) in value.iter_mut().enumerate() {
                // SAFETY: place < range.len() and i < words, so the word lies in the mapping, whose start is aligned
                // to a page. Volatile, because programs and other processes share it.
                *word = unsafe { start.cast::<u64>().add(place * words + i).read_volatile() };
                some |= *word;
            }
            if some != 0 {
                see(index, &value.as_bytes()[..self.value_size]);
            }
        }
        // SAFETY: the mapping made above, of which no reference is left.
        unsafe { rustix::mm::munmap(start, length) }?;
        Ok(())
    }

    /// Reads a value; false when the key is not there.
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        assert_eq!(value.len(), self.value_size, "value size");
        let mut attr = self.element(Some(key), value.as_mut_ptr() as u64);
        absent(bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr))
    }

    /// Adds or replaces an entry.
    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert_eq!(value.len(), self.value_size, "value size");
        let mut attr = self.element(Some(key), value.as_ptr() as u64);
        bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
    }

    /// Removes an entry; false when it was not there.
    pub(crate) fn delete(&self, key: &[u8]) -> io::Result<bool> {
        absent(bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut self.element(Some(key), 0)))
    }

    /// The key after `key`, or the first; false at the end.
    pub(crate) fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
        assert_eq!(next.len(), self.key_size, "key size");
        let mut attr = self.element(key, next.as_mut_ptr() as u64);
        absent(bpf(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr))
    }

    /// Writes `count` entries that lie one behind the other. On an error also says how many were written.
    pub(crate) fn update_batch(
        &self,
        keys: &[u8],
        values: &[u8],
        count: u32,
    ) -> Result<(), (u32, io::Error)> {
        assert_eq!(keys.len(), self.key_size * count as usize, "size of the keys");
        assert_eq!(values.len(), self.value_size * count as usize, "size of the values");
        let mut attr = empty();
        attr.batch.map_fd = self.fd.as_raw_fd() as u32;
        attr.batch.keys = keys.as_ptr() as u64;
        attr.batch.values = values.as_ptr() as u64;
        attr.batch.count = count;
        match bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr) {
            Ok(_) => Ok(()),
            // SAFETY: the kernel writes the number of entries that it took; before the first it writes nothing,
            // and an unsupported operation leaves our own number there.
            Err(error) => Err((if unsupported(&error) { 0 } else { unsafe { attr.batch.count } }, error)),
        }
    }

    /// Reads as many entries as the buffers have room for. `token` says where to go on: all zero before the
    /// first call with `first`. Returns the number of entries and whether the map is at its end.
    pub(crate) fn lookup_batch(
        &self,
        token: &mut Token,
        first: bool,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<(usize, bool)> {
        let room = (keys.len() / self.key_size).min(values.len() / self.value_size);
        assert!(self.key_size <= size_of::<Token>(), "a key fits the token");
        let before = *token;
        let mut attr = empty();
        attr.batch.map_fd = self.fd.as_raw_fd() as u32;
        attr.batch.in_batch = if first { 0 } else { before.as_ptr() as u64 };
        attr.batch.out_batch = token.as_mut_ptr() as u64;
        attr.batch.keys = keys.as_mut_ptr() as u64;
        attr.batch.values = values.as_mut_ptr() as u64;
        attr.batch.count = room as u32;
        let answer = bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
        // SAFETY: the kernel writes how many entries it put into the buffers, at most `room`.
        let count = (unsafe { attr.batch.count } as usize).min(room);
        match answer {
            Ok(_) => Ok((count, false)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count, true)),
            Err(error) => Err(error),
        }
    }
}

/// Where a batch goes on: a bucket number of a hash, or a whole key.
pub(crate) type Token = [u8; 64];

fn absent(answer: io::Result<i32>) -> io::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A new array of one element of four bytes; of maps like `inner` where that is given.
pub(crate) fn small_array(inner: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let kind = match inner {
        None => bpf_map_type::BPF_MAP_TYPE_ARRAY,
        Some(_) => bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS,
    };
    let mut attr = empty();
    // SAFETY: writing plain integers of a union; the kernel reads this variant for BPF_MAP_CREATE.
    let map = unsafe { &mut attr.__bindgen_anon_1 };
    map.map_type = kind as u32;
    map.key_size = 4;
    map.value_size = 4;
    map.max_entries = 1;
    map.inner_map_fd = inner.map_or(0, |fd| fd.as_raw_fd() as u32);
    bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr).map(owned)
}

/// Writes the only element of an array of maps as [`small_array`] makes it. The kernel then waits until every
/// program that may see the old inner map has ended (since 5.0).
pub(crate) fn write_inner(outer: &OwnedFd, inner: &OwnedFd) -> io::Result<()> {
    let (key, value) = (0_u32, inner.as_raw_fd() as u32);
    let mut attr = empty();
    // SAFETY: writing plain integers of a union; the kernel reads this variant for element commands. Key and
    // value have the four bytes that `small_array` declared, and outlive the call.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = outer.as_raw_fd() as u32;
    element.key = (&raw const key) as u64;
    element.__bindgen_anon_1.value = (&raw const value) as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

fn tcx(hook: Hook) -> bpf_attach_type {
    if hook.arriving() { bpf_attach_type::BPF_TCX_INGRESS } else { bpf_attach_type::BPF_TCX_EGRESS }
}

/// What the kernel says of a TCX link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// Interface in the namespace of the link; 0 when the interface is gone.
    pub(crate) ifindex: u32,
    /// Kernel's id of the program.
    pub(crate) program: u32,
    /// Whether it sees what arrives at the interface; `None` for something that is no TCX link.
    pub(crate) arriving: Option<bool>,
}

/// Attaches a program before all others on an interface of this thread's network namespace.
pub(crate) fn tcx_link(program: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
    attr.link_create.attach_type = tcx(hook) as u32;
    attr.link_create.flags = BPF_F_BEFORE;
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr).map(owned)
}

/// Attaches a program to what the sockets of a cgroup receive, beside those of others.
pub(crate) fn cgroup_link(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_fd = cgroup.as_raw_fd() as u32;
    attr.link_create.attach_type = bpf_attach_type::BPF_CGROUP_INET_INGRESS as u32;
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr).map(owned)
}

/// Ids of the TCX programs on an interface of this thread's network namespace, in the order they run.
/// `EINVAL` where the kernel has no TCX.
pub(crate) fn tcx_programs(ifindex: u32, hook: Hook) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; 64]; // the kernel's own limit per interface and side
    let mut attr = empty();
    attr.query.__bindgen_anon_1.target_ifindex = ifindex;
    attr.query.attach_type = tcx(hook) as u32;
    attr.query.prog_ids = ids.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.count = ids.len() as u32;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the kernel writes the number of programs that it listed.
    ids.truncate(unsafe { attr.query.__bindgen_anon_2.count } as usize);
    Ok(ids)
}

/// Replaces the program behind a link; every packet meets the old one or the new one.
pub(crate) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = empty();
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Takes the program of a link off its interface now; to remove the pin alone does it some time later. The link
/// itself goes with its last pin and descriptor.
pub(crate) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = empty();
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// Describes a link.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    // SAFETY: bpf_link_info is made of integers.
    let mut info: bpf_link_info = unsafe { zeroed() };
    let mut attr = empty();
    attr.info.bpf_fd = link.as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    attr.info.info = (&raw mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    let mut answer = LinkInfo { ifindex: 0, program: info.prog_id, arriving: None };
    if info.type_ == bpf_link_type::BPF_LINK_TYPE_TCX as u32 {
        // SAFETY: the type says that the kernel wrote this variant.
        let link = unsafe { info.__bindgen_anon_1.tcx };
        answer.ifindex = link.ifindex;
        answer.arriving = Some(link.attach_type == bpf_attach_type::BPF_TCX_INGRESS as u32);
    }
    Ok(answer)
}

fn path_call(cmd: bpf_cmd, path: &Path, fd: u32) -> io::Result<i32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = empty();
    // SAFETY: writing plain integers of a union; the kernel reads this variant for pins, and the path, which
    // ends in a zero byte, outlives the call.
    let object = unsafe { &mut attr.__bindgen_anon_4 };
    object.pathname = path.as_ptr() as u64;
    object.bpf_fd = fd;
    bpf(cmd, &mut attr)
}

/// Pins an object.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    path_call(bpf_cmd::BPF_OBJ_PIN, path, object.as_raw_fd() as u32).map(drop)
}

/// Opens a pinned object.
pub(crate) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    path_call(bpf_cmd::BPF_OBJ_GET, path, 0).map(owned)
}

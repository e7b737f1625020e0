//! Flags for bpf-linker. Not here: what cargo and rustc get (`isolator-agent/build.rs`).

fn main() {
    // Without it memset is a call of a loop that stores byte by byte: 50 ns for the headers of a packet.
    println!("cargo:rustc-link-arg-bins=--disable-expand-memcpy-in-order");
}

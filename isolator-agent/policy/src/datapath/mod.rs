//! From compiled policy to map contents and from map contents to operations. Pure. `compiled` is what
//! `meaning::compile` makes, `image` is what the maps hold, `layout` deals out numbers, `diff` orders the
//! writes. Not here: system calls (`datapath::store` in the agent).

pub mod compiled;
pub mod diff;
pub mod image;
pub mod layout;
pub mod memory;

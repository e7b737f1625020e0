//! From compiled policy to map contents and from map contents to operations. Pure. `compiled` is what
//! `meaning::compile` makes, `image` is what the maps hold, `layout` deals out numbers (with `addresses`, `rows`, `port_sets`, `numbers`, `extents`), `diff` orders the
//! writes; `memory` judges packets by an image, `frame` builds them. Not here: system calls
//! (`datapath::store` in the agent).

mod addresses;
pub mod adopt;
pub mod compiled;
pub mod diff;
mod extents;
pub mod frame;
pub mod image;
mod kept;
pub mod layout;
mod lpm;
pub mod memory;
mod numbers;
mod port_sets;
mod rows;

pub use numbers::hash;

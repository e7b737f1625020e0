//! Empty. It gives cargo a library target, so that a build script can depend on this crate.
#![no_std]

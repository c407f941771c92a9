//! Moves the structs of [`crate::abi`] in and out of maps and programs as bytes.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe trait, and maps hold these structs")]

use aya::Pod;

use crate::abi;

/// As they stand in memory.
pub fn bytes_of<T: Pod>(values: &[T]) -> &[u8] {
    // SAFETY: `Pod`s have no padding, so every byte is initialised, and the slice lives as long as `values`.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

macro_rules! pod {
    ($($name:ident),+ $(,)?) => {
        $(
            // SAFETY: #[repr(C)] of integers and arrays of them: any bytes are a value, and since each struct spells
            // its padding out as `zero`, every byte of a value is initialised.
            unsafe impl Pod for abi::$name {}
        )+
    };
}

pod!(Addr, Port, FlowKey, Hop, Flow, Bucket, Dest, Frontend, VipKey, Load, DestHop, Stats, Settings);
pod!(MacKey, Neighbour, PersistKey, Persist, FragKey, Frag, Vlan, Sample, Import);

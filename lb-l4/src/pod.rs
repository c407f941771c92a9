//! Lets aya move the structs of [`crate::abi`] in and out of maps as bytes.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe trait, and maps hold these structs")]

use aya::Pod;

use crate::abi;

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
pod!(PersistKey, Persist, FragKey, Frag, Vlan, Sample);

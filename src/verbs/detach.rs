//! `lb detach`: the end of what a stopped lb has left forwarding.

use anyhow::Result;

use crate::exit::{Failed, print};
use crate::supervisor::layer4_options;

pub fn detach() -> Result<()> {
    let options = layer4_options();
    match lb_l4::detach(&options).map_err(|error| Failed::from(anyhow::Error::from(error)))? {
        Some(interfaces) => print(format_args!(
            "layer 4 is removed from {interfaces} interface{}: nothing is forwarded any more\n",
            if interfaces == 1 { "" } else { "s" }
        )),
        None => print("there is nothing: no lb has left layer 4 at work here\n"),
    }
}

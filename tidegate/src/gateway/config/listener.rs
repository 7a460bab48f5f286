//! Listeners: where clients connect, and how each of these places is served.

use super::told::Wrong;
use super::values::Address;
use super::{document, resolve};
use serde::Deserialize;
use std::net::SocketAddr;
use toml::Spanned;

/// One of them, as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub address: Spanned<Address>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
}

/// So many descriptors are handed over at most.
const LISTENERS_MAX: usize = 32;

/// That of the `[gateway]` table first, then the others in their order.
pub fn listeners(text: &str, gateway: &document::Gateway, sections: Vec<Section>) -> Result<Vec<Listener>, Wrong> {
    let short = gateway.listen.as_ref().map(|address| {
        let address = resolve(address).map_err(|why| Wrong::whole(format!("gateway.listen: {why}")))?;
        Ok(Listener { address })
    });
    let mut all: Vec<Listener> = short.into_iter().collect::<Result<_, Wrong>>()?;
    for section in sections {
        let span = section.address.span();
        let listener = make(text, section)?;
        if listener.address.port() != 0 && all.iter().any(|other| other.address == listener.address) {
            return Err(Wrong::at(text, &span, format!("{} is listened on twice", listener.address)));
        }
        all.push(listener);
    }
    match all.len() {
        0 => Err(Wrong::whole("clients can connect nowhere: give gateway.listen, or a [[listener]] with its address")),
        1..=LISTENERS_MAX => Ok(all),
        many => Err(Wrong::whole(format!("there are {many} listeners; give {LISTENERS_MAX} at most"))),
    }
}

fn make(text: &str, section: Section) -> Result<Listener, Wrong> {
    let span = section.address.span();
    let address = resolve(section.address.get_ref()).map_err(|why| Wrong::at(text, &span, why))?;
    Ok(Listener { address })
}

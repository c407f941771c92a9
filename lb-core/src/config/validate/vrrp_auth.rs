//! Who may speak for a virtual router.

use super::{Validator, collect};
use crate::config::decode::{At, Entry};
use crate::config::diagnostic::Help;
use crate::config::model::{HmacKey, Secret, VrrpAuth, VrrpHmac, VrrpVersion};
use crate::config::raw;

/// RFC 2338 section 5.3.10.
const PASSWORD: usize = 8;

impl Validator<'_, '_> {
    pub(super) fn vrrp_auth(&mut self, entry: &Entry<raw::Auth>, version: VrrpVersion) -> Option<VrrpAuth> {
        let at = match entry {
            Entry::Absent => return Some(VrrpAuth::None),
            Entry::Bad => return None,
            Entry::Given(at) => at,
        };
        match (&at.value.password, &at.value.hmac) {
            (Entry::Given(password), Entry::Absent) => self.password(password, version).map(VrrpAuth::Password),
            (Entry::Absent, Entry::Given(hmac)) => self.hmac(hmac, version).map(VrrpAuth::Hmac),
            (Entry::Bad, _) | (_, Entry::Bad) => None,
            _ => self.refuse(at.key, "auth has one of `password`, `hmac`"),
        }
    }

    fn password(&mut self, at: &At<String>, version: VrrpVersion) -> Option<[u8; PASSWORD]> {
        if version == VrrpVersion::V3 {
            let help = "version 3 has `hmac`; a password is of `version: 2`";
            self.problems.error_with(at.key, "version 3 knows no passwords", Help::Text(help.to_owned()));
            return None;
        }
        let text = at.value.as_bytes();
        if text.is_empty() || text.len() > PASSWORD || !text.iter().all(u8::is_ascii_graphic) {
            return self.refuse(at.span, format!("a password has 1 to {PASSWORD} printable ASCII characters"));
        }
        let mut password = [0; PASSWORD];
        password[..text.len()].copy_from_slice(text);
        Some(password)
    }

    fn hmac(&mut self, at: &At<raw::Hmac>, version: VrrpVersion) -> Option<VrrpHmac> {
        if version == VrrpVersion::V2 {
            let help = "version 2 has `password`";
            self.problems.error_with(at.key, "`hmac` is of version 3", Help::Text(help.to_owned()));
            return None;
        }
        let keys = self.hmac_keys(at)?;
        let active = match &at.value.active {
            Entry::Absent => keys.first()?.id,
            Entry::Bad => return None,
            Entry::Given(active) if keys.iter().any(|key| key.id == active.value) => active.value,
            Entry::Given(active) => return self.refuse(active.span, format!("there is no key {}", active.value)),
        };
        Some(VrrpHmac { keys, active, window: at.value.window(), required: at.value.required() })
    }

    fn hmac_keys(&mut self, hmac: &At<raw::Hmac>) -> Option<Vec<HmacKey>> {
        let list = self.required(&hmac.value.keys, hmac.key, "hmac", "keys")?;
        if list.value.is_empty {
            return self.refuse(list.key, "`keys` needs at least one key");
        }
        let mut first: Vec<(u8, _)> = Vec::new();
        let keys = list.value.items.iter().map(|item| {
            let id = self.required(&item.value.id, item.span, "a key", "id");
            let file = self.required(&item.value.secret_file, item.span, "a key", "secret_file");
            let id = id?;
            if let Some((_, other)) = first.iter().find(|(other, _)| *other == id.value) {
                self.problems.error_with(id.span, format!("key {} is there twice", id.value), Help::First(*other));
                return None;
            }
            first.push((id.value, id.span));
            Some(HmacKey { id: id.value, secret: Secret(file?.value.clone()) })
        });
        collect(keys.collect())
    }
}

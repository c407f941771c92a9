use proptest::prelude::*;

use super::*;

fn any_wire() -> impl Strategy<Value = Wire> {
    let auth = prop_oneof![
        Just(Auth::None),
        any::<[u8; 8]>().prop_map(Auth::Password),
        Just(Auth::Hmac(HmacSettings {
            keys: vec![(3, Key::new(&[9; 40]).unwrap())],
            active: 3,
            window: Duration::from_secs(5),
            required: true,
        })),
    ];
    (0..3_usize, 1..=255_u8, 1..=0xfff_u64, auth, any::<bool>(), any::<bool>()).prop_map(
        |(kind, vrid, interval, auth, pseudo_header, is_unicast)| {
            let base = [wire(), wire_v6(), wire_v2()][kind].clone();
            let interval = match base.version {
                Version::V2 => Duration::from_secs(1 + interval % 255),
                Version::V3 => Duration::from_millis(10 * interval),
            };
            let auth = match (base.version, auth) {
                (Version::V2, Auth::Hmac(_)) | (Version::V3, Auth::Password(_)) => Auth::None,
                (_, auth) => auth,
            };
            let peers = if is_unicast { Peers::Unicast(vec![source(base.family)]) } else { Peers::Multicast };
            Wire { vrid, interval, auth, pseudo_header, peers, ..base }
        },
    )
}

fn any_advert(wire: &Wire) -> impl Strategy<Value = Advert> + use<> {
    let (version, vrid, interval, family) = (wire.version, wire.vrid, wire.interval, wire.family);
    let most = if family == Family::V4 { 255 } else { 90 };
    (any::<u8>(), prop::collection::vec(any::<[u8; 16]>(), 1..=most)).prop_map(move |(priority, octets)| {
        let address = |octets: [u8; 16]| match family {
            Family::V4 => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
            Family::V6 => IpAddr::from(octets),
        };
        Advert { version, vrid, priority, interval, addresses: octets.into_iter().map(address).collect() }
    })
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(
        (wire, advert) in any_wire().prop_flat_map(|wire| (Just(wire.clone()), any_advert(&wire))),
    ) {
        let (from, group) = (source(wire.family), wire.family.group());
        let destination = if wire.peers == Peers::Multicast { group } else { from };
        let mut payload = Vec::new();
        Codec::new(wire.clone()).encode(&advert, from, destination, UTC, &mut payload);
        let received = Received { source: from, destination, ttl: TTL, payload: &payload };
        prop_assert_eq!(Codec::new(wire).decode(&received, UTC), Ok(advert));
    }

    /// Nor is anything accepted that would not be sent: every bit counts, but for the reserved ones and padding.
    #[test]
    fn a_flipped_bit_is_refused(wire in any_wire(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut payload = Vec::new();
        let (from, group) = (source(wire.family), wire.family.group());
        let destination = if wire.peers == Peers::Multicast { group } else { from };
        Codec::new(wire.clone()).encode(&advert(&wire), from, destination, UTC, &mut payload);
        let at = at.index(payload.len());
        payload[at] ^= 1 << bit;
        let received = Received { source: from, destination, ttl: TTL, payload: &payload };
        let result = Codec::new(wire).decode(&received, UTC);
        prop_assert!(result.is_err(), "{result:?}");
    }

    #[test]
    fn no_bytes_make_it_panic(
        wire in any_wire(), bytes in prop::collection::vec(any::<u8>(), 0..400), ttl in any::<u8>(),
    ) {
        let _ = split_ipv4(&bytes);
        let _ = announced(&bytes);
        let _ = vrid(&bytes);
        for ttl in [ttl, TTL] {
            let received = Received { ttl, ..received(wire.family, &bytes) };
            let _ = Codec::new(wire.clone()).decode(&received, UTC);
        }
    }

    /// Bytes that get past the first checks.
    #[test]
    fn no_nearly_good_bytes_make_it_panic(
        wire in any_wire(), rest in prop::collection::vec(any::<u8>(), 6..300), count in 0..20_u8,
    ) {
        let mut bytes = vec![wire.version.number() << 4 | 1, wire.vrid];
        bytes.extend(rest);
        bytes[3] = count;
        let _ = decode(&wire, &forged(bytes, |_| {}));
    }
}

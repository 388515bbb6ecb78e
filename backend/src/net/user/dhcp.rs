//! The DHCP server (RFC 2131). It has one address to give, for as long as the network is there, so it keeps nothing:
//! every answer follows from the question.

use std::net::Ipv4Addr;

use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr};

use super::plan::Plan;

/// Where a server listens.
pub const SERVER_PORT: u16 = 67;
/// Where a client does.
pub const CLIENT_PORT: u16 = 68;

/// Seconds that a lease lasts.
const LEASE: u32 = 86_400;
/// The option that carries the client's name for itself, which an answer repeats (RFC 6842).
const CLIENT_ID: u8 = 61;
/// The option that carries the MTU (RFC 2132, 5.1).
const MTU: u8 = 26;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message, for port 68.
    pub message: Vec<u8>,
    /// The IP address it goes to.
    pub target: Ipv4Addr,
}

/// Answers a client's message; `None` where nothing is to be said.
pub fn answer(plan: &Plan, message: &[u8]) -> Option<Answer> {
    let packet = DhcpPacket::new_checked(message).ok()?;
    let asked = DhcpRepr::parse(&packet).ok()?;
    if asked.server_identifier.is_some_and(|server| server != plan.gateway()) {
        return None; // it takes another server's offer
    }
    let wants = asked.requested_ip.unwrap_or(asked.client_ip);
    let (kind, address) = match asked.message_type {
        DhcpMessageType::Discover => (DhcpMessageType::Offer, plan.guest()),
        DhcpMessageType::Request if wants == plan.guest() => (DhcpMessageType::Ack, plan.guest()),
        DhcpMessageType::Request => (DhcpMessageType::Nak, Ipv4Addr::UNSPECIFIED),
        DhcpMessageType::Inform => (DhcpMessageType::Ack, Ipv4Addr::UNSPECIFIED),
        _ => return None,
    };
    let refused = kind == DhcpMessageType::Nak;
    let mtu = (Plan::MTU as u16).to_be_bytes();
    let mut options = vec![];
    if !refused {
        options.push(DhcpOption { kind: MTU, data: &mtu });
    }
    let name = packet.options().find(|option| option.kind == CLIENT_ID);
    options.extend(name.filter(|_| asked.client_identifier.is_none()));

    let repr = DhcpRepr {
        message_type: kind,
        transaction_id: asked.transaction_id,
        secs: 0,
        client_hardware_address: asked.client_hardware_address,
        client_ip: if asked.message_type == DhcpMessageType::Inform {
            asked.client_ip
        } else {
            Ipv4Addr::UNSPECIFIED
        },
        your_ip: address,
        server_ip: plan.gateway(),
        router: (!refused).then(|| plan.gateway()),
        subnet_mask: (!refused).then_some(Plan::MASK),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: asked.broadcast,
        requested_ip: None,
        client_identifier: asked.client_identifier,
        server_identifier: Some(plan.gateway()),
        parameter_request_list: None,
        dns_servers: (!refused).then(|| std::iter::once(plan.resolver()).collect()),
        max_size: None,
        lease_duration: (address == plan.guest()).then_some(LEASE),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &options,
    };
    // BOOTP's least length, which some clients insist on.
    let mut bytes = vec![0; repr.buffer_len().max(300)];
    repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).ok()?;
    let unicast = !asked.broadcast && !refused;
    let target = match (unicast, asked.client_ip.is_unspecified()) {
        (true, false) => asked.client_ip,
        (true, true) => address,
        (false, _) => Ipv4Addr::BROADCAST,
    };
    Some(Answer { message: bytes, target })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::EthernetAddress;

    fn asked(kind: DhcpMessageType) -> DhcpRepr<'static> {
        DhcpRepr {
            message_type: kind,
            transaction_id: 0x1234_5678,
            secs: 3,
            client_hardware_address: EthernetAddress([2, 0, 0, 0, 0, 1]),
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: None,
            client_identifier: None,
            server_identifier: None,
            parameter_request_list: Some(&[1, 3, 6, 26]),
            dns_servers: None,
            max_size: Some(1472),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        }
    }

    fn bytes(repr: &DhcpRepr) -> Vec<u8> {
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).unwrap();
        bytes
    }

    fn ask(repr: &DhcpRepr, check: impl FnOnce(&DhcpRepr, Ipv4Addr)) {
        let answer = answer(&Plan::default(), &bytes(repr)).unwrap();
        let packet = DhcpPacket::new_checked(&answer.message[..]).unwrap();
        check(&DhcpRepr::parse(&packet).unwrap(), answer.target);
    }

    #[test]
    fn a_lease_is_offered_and_given() {
        let plan = Plan::default();
        for (asked_for, requested, given) in [
            (DhcpMessageType::Discover, None, DhcpMessageType::Offer),
            (DhcpMessageType::Request, Some(plan.guest()), DhcpMessageType::Ack),
        ] {
            ask(&DhcpRepr { requested_ip: requested, ..asked(asked_for) }, |answer, target| {
                assert_eq!(answer.message_type, given);
                assert_eq!((answer.your_ip, target), (plan.guest(), plan.guest()));
                assert_eq!(answer.router, Some(plan.gateway()));
                assert_eq!(answer.server_identifier, Some(plan.gateway()));
                assert_eq!(answer.subnet_mask, Some(Plan::MASK));
                assert_eq!(answer.dns_servers.as_deref(), Some(&[plan.resolver()][..]));
                assert_eq!(answer.lease_duration, Some(LEASE));
                assert_eq!(answer.transaction_id, 0x1234_5678);
            });
        }
    }

    #[test]
    fn an_address_of_another_network_is_refused_to_everyone_in_hearing() {
        let elsewhere = Some(Ipv4Addr::new(192, 168, 1, 5));
        ask(&DhcpRepr { requested_ip: elsewhere, ..asked(DhcpMessageType::Request) }, |answer, target| {
            assert_eq!(answer.message_type, DhcpMessageType::Nak);
            assert_eq!((answer.your_ip, target), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
            assert_eq!(answer.lease_duration, None);
        });
    }

    #[test]
    fn a_lease_is_renewed_by_unicast_and_facts_are_told_without_one() {
        let client_ip = Plan::default().guest();
        ask(&DhcpRepr { client_ip, ..asked(DhcpMessageType::Request) }, |answer, target| {
            assert_eq!(
                (answer.message_type, answer.your_ip, target),
                (DhcpMessageType::Ack, client_ip, client_ip)
            );
        });
        let client_ip = Ipv4Addr::new(10, 0, 2, 77);
        ask(&DhcpRepr { client_ip, ..asked(DhcpMessageType::Inform) }, |answer, target| {
            assert_eq!(
                (answer.message_type, answer.lease_duration, target),
                (DhcpMessageType::Ack, None, client_ip)
            );
            assert!(answer.dns_servers.is_some());
        });
    }

    #[test]
    fn a_client_hears_the_name_it_gave() {
        let name = [0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let option = [DhcpOption { kind: CLIENT_ID, data: &name }];
        let question = bytes(&DhcpRepr { additional_options: &option, ..asked(DhcpMessageType::Discover) });
        let answer = answer(&Plan::default(), &question).unwrap();
        let packet = DhcpPacket::new_checked(&answer.message[..]).unwrap();
        assert!(packet.options().any(|option| option.kind == CLIENT_ID && option.data == name));
        assert!(packet.options().any(|option| option.kind == MTU && option.data == [5, 220]));
    }

    #[test]
    fn nothing_is_said_to_others() {
        let plan = Plan::default();
        let others = DhcpRepr {
            server_identifier: Some(Ipv4Addr::new(10, 0, 2, 9)),
            ..asked(DhcpMessageType::Request)
        };
        assert_eq!(answer(&plan, &bytes(&others)), None);
        for kind in [DhcpMessageType::Decline, DhcpMessageType::Release, DhcpMessageType::Offer] {
            assert_eq!(answer(&plan, &bytes(&asked(kind))), None);
        }
    }

    proptest! {
        #[test]
        fn any_message_is_survived(mut message in prop::collection::vec(any::<u8>(), 0..600), valid: bool) {
            if valid && message.len() > 240 {
                message[..3].copy_from_slice(&[1, 1, 6]);
                message[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
            }
            if let Some(answer) = answer(&Plan::default(), &message) {
                prop_assert!(answer.message.len() < 1400);
            }
        }
    }
}

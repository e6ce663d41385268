//! CLUSTER: this server as one shard with all slots, where it is told to be one

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result};

use super::{LOADING_STALE, commands, help};
use crate::session::Session;

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

const FIXED: Flags = Flags::ADMIN.union(Flags::STALE).union(Flags::NO_ASYNC_LOADING);

commands! {
    "cluster" -2 Flags::empty(), Category::empty(), Cluster "3.0.0" "The cluster" container;
    "cluster|info" 2 Flags::STALE, Category::empty(), Cluster "3.0.0" "How the cluster is" now info;
    "cluster|myid" 2 Flags::STALE, Category::empty(), Cluster "3.0.0" "The name of this node" now my_id;
    "cluster|myshardid" 2 Flags::STALE, Category::empty(), Cluster "7.2.0" "The name of this shard" now my_id;
    "cluster|nodes" 2 Flags::STALE, Category::empty(), Cluster "3.0.0" "The nodes of the cluster" now nodes;
    "cluster|slots" 2 Flags::STALE, Category::empty(), Cluster "3.0.0" "Which nodes have which slots" now slots;
    "cluster|shards" 2 Flags::STALE, Category::empty(), Cluster "7.0.0" "The shards of the cluster" now shards;
    "cluster|links" 2 Flags::STALE, Category::empty(), Cluster "7.0.0" "Links to other nodes" now links;
    "cluster|keyslot" 3 Flags::STALE, Category::empty(), Cluster "3.0.0" "The slot of a key" now key_slot;
    "cluster|countkeysinslot" 3 Flags::STALE, Category::empty(), Cluster "3.0.0" "Cannot be done: keys are not kept by slot" now by_slot;
    "cluster|getkeysinslot" 4 Flags::STALE, Category::empty(), Cluster "3.0.0" "Cannot be done: keys are not kept by slot" now by_slot;
    "cluster|addslots" -3 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|addslotsrange" -4 FIXED, Category::empty(), Cluster "7.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|bumpepoch" 2 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|delslots" -3 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|delslotsrange" -4 FIXED, Category::empty(), Cluster "7.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|failover" -2 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|flushslots" 2 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|forget" 3 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|meet" -4 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|replicate" 3 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|saveconfig" 2 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|set-config-epoch" 3 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|setslot" -4 FIXED, Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|reset" -2 Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::STALE), Category::empty(), Cluster "3.0.0" "Cannot be done: this shard has all slots" now refuse;
    "cluster|count-failure-reports" 3 Flags::ADMIN.union(Flags::STALE), Category::empty(), Cluster "3.0.0" "How many nodes think that one has failed" now |session, _| must_be_cluster(session).map(|()| Reply::Integer(0));
    "cluster|replicas" 3 Flags::ADMIN.union(Flags::STALE), Category::empty(), Cluster "5.0.0" "The replicas of a node" now links;
    "cluster|slaves" 3 Flags::ADMIN.union(Flags::STALE), Category::empty(), Cluster "3.0.0" "The replicas of a node" now links;
    "cluster|help" 2 LOADING_STALE, Category::empty(), Cluster "5.0.0" "What CLUSTER can do" now helps;
}

fn must_be_cluster(session: &Session) -> Result<()> {
    if session.shared.cluster_mode {
        return Ok(());
    }
    Err(Error::reply("ERR This instance has cluster support disabled"))
}

fn by_slot(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    Err(Error::reply("ERR this shard has all slots and does not keep its keys by them"))
}

/// Where clients reach this node: as they did now.
fn address(session: &Session) -> (String, u16) {
    session.client.local.map_or((String::new(), 0), |local| (local.ip().to_string(), local.port()))
}

fn info(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    let text = format!(
        "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\n\
         cluster_current_epoch:1\r\ncluster_my_epoch:1\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
    );
    Ok(Reply::Verbatim("txt", text.into()))
}

fn my_id(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    Ok(Reply::bulk(session.shared.host.facts().run_id))
}

fn nodes(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    let (ip, port) = address(session);
    let id = session.shared.host.facts().run_id;
    let line = format!("{id} {ip}:{port}@{port} myself,master - 0 0 1 connected 0-{}\n", SLOTS - 1);
    Ok(Reply::Verbatim("txt", line.into()))
}

fn slots(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    let (ip, port) = address(session);
    let id = session.shared.host.facts().run_id;
    let node =
        Reply::Array(vec![Reply::bulk(ip), Reply::Integer(i64::from(port)), Reply::bulk(id), Reply::Array(Vec::new())]);
    let range = vec![Reply::Integer(0), Reply::Integer(i64::from(SLOTS - 1)), node];
    Ok(Reply::Array(vec![Reply::Array(range)]))
}

fn shards(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    let (ip, port) = address(session);
    let facts = session.shared.host.facts();
    let pair = |name: &str, value: Reply| (Reply::bulk(name), value);
    let node = Reply::Map(vec![
        pair("id", Reply::bulk(facts.run_id)),
        pair("port", Reply::Integer(i64::from(port))),
        pair("ip", Reply::bulk(&ip)),
        pair("endpoint", Reply::bulk(&ip)),
        pair("role", Reply::bulk("master")),
        pair("replication-offset", Reply::Integer(i64::try_from(facts.applied_index).unwrap_or(i64::MAX))),
        pair("health", Reply::bulk("online")),
    ]);
    let slots = vec![Reply::Integer(0), Reply::Integer(i64::from(SLOTS - 1))];
    let shard = vec![pair("slots", Reply::Array(slots)), pair("nodes", Reply::Array(vec![node]))];
    Ok(Reply::Array(vec![Reply::Map(shard)]))
}

fn links(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    Ok(Reply::Array(Vec::new()))
}

fn refuse(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    Err(Error::reply("ERR this server is the one shard of its cluster and has all slots"))
}

fn key_slot(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    must_be_cluster(session)?;
    Ok(Reply::Integer(i64::from(slot_of(&args[2]))))
}

/// The slot of a key: CRC16 (XMODEM) of what stands in its first braces, or of all of it.
fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}').filter(|close| *close > 0)?;
        Some(&rest[..close])
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    });
    crc % SLOTS
}

fn helps(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(
        "CLUSTER",
        &[
            "INFO",
            "    How the cluster is.",
            "KEYSLOT <key>",
            "    The slot of a key.",
            "MYID",
            "    The name of this node.",
            "NODES",
            "    The nodes of the cluster.",
            "SHARDS",
            "    The shards of the cluster.",
            "SLOTS",
            "    Which nodes have which slots.",
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::slot_of;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot_of(b"123456789"), 12_739);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"a{foo}b"), 12_182);
        assert_eq!(slot_of(b"{}foo"), slot_of(b"{}foo"));
    }
}

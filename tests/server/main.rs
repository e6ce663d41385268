//! A node as its users meet it: started as a process, asked over its doors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod activity;
mod admin;
mod attestations;
mod backup;
mod client;
mod cold;
mod command_line;
mod connections;
mod databases;
mod docs;
mod doors;
mod dumps;
mod garbage;
mod grpc;
mod jwt;
mod lake;
mod large_rows;
mod latest;
mod limits;
mod notifications;
mod object_store;
mod operations;
mod overrides;
mod packaging;
mod partitions;
mod pgbench;
mod proxy;
mod psql;
mod rest;
mod retention;
mod security;
mod sessions;
mod stop;
mod tiers;
mod tools;
mod transfers;
mod wire;

//! `perigee admin`: asks a running node over its gRPC door, and nothing else.

use perigee_api::client::{Access, Admin, ClientError};
use perigee_api::v1;
use perigee_api::v1::change_cluster_request::Change;

use crate::admin_json;
use crate::cli::{AdminArguments, AdminCommand, AnswerForm, ClusterCommand, DiagnosticsCommand, NodePlace};
use crate::failure::Failure;
use crate::{diagnostics_command, health_command, key_command, schema_command};

/// Runs the command and prints what the node answers.
pub(crate) fn run(arguments: &AdminArguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::fatal(format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        if let AdminCommand::Cluster(ClusterCommand::WaitHealthy { timeout }) = &arguments.command {
            return health_command::wait(&arguments.node, timeout).await;
        }
        let (mut admin, form) = (connect(&arguments.node).await?, arguments.format);
        match &arguments.command {
            AdminCommand::Status => {
                let status = admin.status().await.map_err(failure)?;
                answer(form, || admin_json::status(&status), || print_status(&status));
            }
            AdminCommand::Verify { cluster: true, .. } => {
                let compared = admin.verify_cluster().await.map_err(failure)?;
                answer(form, || admin_json::compared(&compared), || print_compared(&compared));
                check_compared(form, &compared)?;
            }
            AdminCommand::Verify { table, skip_log, .. } => {
                let request = v1::VerifyRequest { tables: table.clone(), skip_log: *skip_log };
                let verified = admin.verify(request).await.map_err(failure)?;
                answer(form, || admin_json::verified(&verified), || print_verified(&verified));
                check_verified(form, &verified)?;
            }
            AdminCommand::Cluster(ClusterCommand::Ping) => health_command::ping(&mut admin, form).await?,
            AdminCommand::Cluster(command) => {
                if let Some(change) = change(command) {
                    admin.change_cluster(change).await.map_err(failure)?;
                }
                let cluster = admin.cluster().await.map_err(failure)?;
                answer(form, || admin_json::cluster(&cluster), || print_cluster(&cluster));
            }
            AdminCommand::Key(command) => key_command::run(&mut admin, command, form).await?,
            AdminCommand::Tier { database, command } => {
                schema_command::tier(&mut admin, database.as_deref(), command.as_ref(), form).await?;
            }
            AdminCommand::Schema(command) => schema_command::schema(&mut admin, command, form).await?,
            AdminCommand::Migrate { file, database } => {
                schema_command::migrate(&mut admin, file, database.as_deref(), form).await?;
            }
            AdminCommand::Diagnostics(DiagnosticsCommand::Export { file }) => {
                diagnostics_command::export(&mut admin, file, form).await?;
            }
        }
        Ok(())
    })
}

/// Prints an answer as it was asked for.
pub(crate) fn answer(form: AnswerForm, json: impl FnOnce() -> serde_json::Value, text: impl FnOnce()) {
    match form {
        AnswerForm::Text => text(),
        AnswerForm::Json => println!("{}", json()),
    }
}

/// Who the arguments and the environment name.
pub(crate) fn access(node: &NodePlace) -> Access {
    let authorization = match &node.user {
        Some(user) => Some(Access::basic(user, &std::env::var("PGPASSWORD").unwrap_or_default())),
        None => ["PERIGEE_SECURITY__ADMIN_TOKEN", "PERIGEE_ADMIN_TOKEN"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .map(|token| format!("Bearer {token}")),
    };
    let tls_identity = node.tls.tls_certificate.clone().zip(node.tls.tls_key.clone());
    Access { authorization, tls_authority: node.tls.tls_authority.clone(), tls_identity }
}

/// Connects to a node.
pub(crate) async fn connect(node: &NodePlace) -> Result<Admin, Failure> {
    Admin::connect(&node.address, &access(node)).await.map_err(failure)
}

pub(crate) fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Unreachable { .. } => Failure::Refused(error.to_string()),
        ClientError::Refused(_) => Failure::fatal(error),
    }
}

fn change(command: &ClusterCommand) -> Option<Change> {
    Some(match command.clone() {
        ClusterCommand::Status | ClusterCommand::Ping | ClusterCommand::WaitHealthy { .. } => return None,
        ClusterCommand::Add { name, address } => Change::Add(v1::AddMember { name, address }),
        ClusterCommand::Remove { name } => Change::Remove(name),
        ClusterCommand::Promote { name } => Change::Promote(name),
        ClusterCommand::Demote { name } => Change::Demote(name),
        ClusterCommand::Transfer { name } => Change::Transfer(name),
    })
}

fn print_cluster(cluster: &v1::ClusterResponse) {
    let leader = if cluster.leader.is_empty() { "nobody leads" } else { &*format!("{} leads", cluster.leader) };
    println!(
        "{leader} in term {}; {} has applied entry {} of {}",
        cluster.term, cluster.node, cluster.applied, cluster.committed
    );
    for member in &cluster.members {
        let role = match (member.leads, member.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let holds = member.matched.map(|index| format!(", holds entry {index}")).unwrap_or_default();
        let answered = member.answered_ms.map(|ms| format!(", answered {ms} ms ago")).unwrap_or_default();
        println!("  {} {role} at {}, {}{holds}{answered}", member.name, member.address, member.incarnation);
    }
}

fn print_status(status: &v1::StatusResponse) {
    println!("{} ({}), perigee {}", status.node, status.role, status.version);
    println!("  term {}, {} voters, {} sessions", status.term, status.voters, status.sessions);
    if let Some(log) = &status.log {
        println!(
            "  log: entries {} to {}, {} bytes; committed {}, synced {}",
            log.first, log.last, log.bytes, log.committed, log.synced
        );
    }
    println!("  applied {}, checkpoint {}", status.applied, status.checkpoint);
}

fn print_verified(verified: &v1::VerifyResponse) {
    println!("read at entry {}", verified.index);
    for table in &verified.tables {
        println!("  {}.{}: {} rows", table.schema, table.name, table.rows);
        for index in &table.indexes {
            println!("    {}: {} entries", index.name, index.entries);
        }
    }
    if let Some(log) = &verified.log {
        println!("  log: entries {} to {}, {} records in {} bytes", log.first, log.last, log.records, log.bytes);
        println!("    chain hash {}", hex::encode(&log.head));
        match log.attested {
            0 => println!("    there is no attestation among these entries"),
            index => println!("    agrees with the attestation of entry {index}"),
        }
    }
}

fn check_verified(form: AnswerForm, verified: &v1::VerifyResponse) -> Result<(), Failure> {
    if verified.faults.is_empty() {
        all_is_well(form);
        return Ok(());
    }
    Err(Failure::Damaged(format!("{} faults:\n  {}", verified.faults.len(), verified.faults.join("\n  "))))
}

fn all_is_well(form: AnswerForm) {
    if form == AnswerForm::Text {
        println!("all is well");
    }
}

fn print_compared(compared: &v1::VerifyClusterResponse) {
    println!("compared at entry {}: {} parts", compared.index, compared.parts);
    for member in &compared.members {
        if member.error.is_empty() && member.differs.is_empty() {
            println!("  {} has what most have", member.name);
        }
    }
}

fn check_compared(form: AnswerForm, compared: &v1::VerifyClusterResponse) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for member in &compared.members {
        match &*member.error {
            "" => faults.extend(member.differs.iter().map(|part| format!("{} differs: {part}", member.name))),
            error => faults.push(format!("{} was not compared: {error}", member.name)),
        }
    }
    if !compared.majority {
        faults.push("no majority of the members has the same: nothing here says who is right".to_owned());
    }
    if faults.is_empty() {
        all_is_well(form);
        return Ok(());
    }
    let text = format!("{} faults:\n  {}", faults.len(), faults.join("\n  "));
    match compared.members.iter().any(|member| !member.differs.is_empty()) {
        true => Err(Failure::Damaged(text)),
        false => Err(Failure::Fatal(text)),
    }
}

//! Planning of statements that may take long, on a thread that nobody else waits for.
//!
//! A plan is made in one go: the thread that makes it can neither serve others meanwhile nor be told to stop. So the session waits
//! for it beside its cancel token, whose time limit is the statement's. Who stops waiting leaves the plan to be made and dropped; how
//! large one may be is bounded (`54001`), and so is how many are made at once.

use std::sync::Arc;

use perigee_plan::Plan;
use perigee_query::sql::{self, Ast, PlanContext, TemporarySchema};
use perigee_types::catalog::Catalog;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, TableId, TenantId};
use tokio::sync::Semaphore;

use crate::Statement;
use crate::engine::Engine;
use crate::identity::Identity;
use crate::session::{SearchPath, Session};
use crate::session_statements::check_result;
use crate::settings::Settings;

/// Plans that are made at once for each core: some of them may be large ones that others should not wait for.
const PLANNERS_PER_CORE: usize = 4;

/// Who may plan apart.
pub(crate) fn planners() -> Arc<Semaphore> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    Arc::new(Semaphore::new(cores * PLANNERS_PER_CORE))
}

/// What a plan depends on, for a thread of its own.
struct Surroundings {
    catalog: Arc<Catalog>,
    tenant: TenantId,
    database: String,
    path: SearchPath,
    temporary: String,
    identity: Arc<Identity>,
    settings: Settings,
    maintains: Option<TableId>,
    declared: Vec<Option<SqlType>>,
}

impl Surroundings {
    fn with<T>(&self, run: impl FnOnce(&PlanContext) -> SqlResult<T>) -> SqlResult<T> {
        let settings = |name: &str| self.settings.get(name).map(str::to_owned);
        run(&PlanContext {
            catalog: &self.catalog,
            tenant: self.tenant,
            database: &self.database,
            search_path: &self.path.schemas,
            temporary: TemporarySchema { name: &self.temporary, implicit: self.path.implicit_temporary },
            user: &self.identity.role.name,
            role: self.identity.role.oid,
            settings: &settings,
            maintains: self.maintains,
            declared: &self.declared,
            uses: None,
            relations: &[],
        })
    }
}

/// Whether planning such a statement reads queries: all others are planned in no time.
pub(crate) fn may_take_long(statement: &sql::Statement) -> bool {
    matches!(
        statement.ast,
        Ast::Sql(_)
            | Ast::CreateTable { .. }
            | Ast::CreateFunction(_)
            | Ast::Copy(_)
            | Ast::Declare { .. }
            | Ast::Explain { .. }
    )
}

impl Session {
    /// Runs `run` on a thread of its own.
    ///
    /// # Errors
    /// `57014` when the session's token is cancelled first, and what `run` gives.
    pub(crate) async fn plan_apart<T: Send + 'static>(
        &mut self,
        declared: &[Option<SqlType>],
        run: impl FnOnce(&Engine, &PlanContext) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        let catalog = self.planning_catalog();
        let surroundings = Surroundings {
            path: self.search_path(&catalog),
            identity: self.identity(&catalog),
            catalog,
            tenant: self.tenant,
            database: self.database.clone(),
            temporary: self.temporary.schema.clone(),
            settings: self.settings.clone(),
            maintains: self.maintains,
            declared: declared.to_vec(),
        };
        let engine = Arc::clone(&self.engine);
        let made = async move {
            let permit = Arc::clone(&engine.planners).acquire_owned().await.map_err(SqlError::internal)?;
            let making = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                surroundings.with(|context| run(&engine, context))
            });
            making.await.map_err(SqlError::internal)?
        };
        let cancel = self.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                let error = SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request");
                Err(self.explain_cancel(error))
            }
            made = made => made,
        }
    }

    /// The statement planned against the present catalog, as [`Session::refresh`] does.
    ///
    /// # Errors
    /// `57014` when it is cancelled meanwhile, `0A000` when its result has other columns now, and what planning gives.
    pub(crate) async fn refresh_apart(&mut self, statement: &Statement) -> SqlResult<Statement> {
        let old = &statement.prepared;
        let quick = matches!(old.plan, Plan::Point(_) | Plan::Transaction(_) | Plan::Session(_));
        if quick || old.catalog_version == self.planning_catalog().version {
            return self.refresh(statement);
        }
        let declared: Vec<Option<SqlType>> = old.parameters.iter().cloned().map(Some).collect();
        let text = Arc::clone(&old.text);
        let planned = self.plan_apart(&declared, move |_, context| match sql::parse(&text)?.as_slice() {
            [parsed] => sql::plan(parsed, context).map(Some),
            _ => Ok(None),
        });
        let Some(prepared) = planned.await? else { return Ok(statement.clone()) };
        check_result(&prepared, &statement.prepared)?;
        Ok(Statement { prepared, literals: statement.literals.clone() })
    }
}

"""Alembic: migrations up and down, and what it finds by itself between models and the database. `migrations.py HOST PORT`"""

import pathlib
import sys

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

HOST, PORT = sys.argv[1], sys.argv[2]
URL = f"postgresql+psycopg://postgres@{HOST}:{PORT}/postgres"

FIRST = '''
"""first"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "a1", None

def upgrade():
    op.create_table("author", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(30)))
    op.create_table("book", sa.Column("id", sa.Integer, primary_key=True), sa.Column("author", sa.Integer))
    op.bulk_insert(sa.table("author", sa.column("name", sa.String)), [{"name": "Ada"}, {"name": None}])

def downgrade():
    op.drop_table("book")
    op.drop_table("author")
'''
SECOND = '''
"""second"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "b2", "a1"

def upgrade():
    op.execute("UPDATE author SET name = 'nobody' WHERE name IS NULL")
    op.alter_column("author", "name", nullable=False, type_=sa.Text(), server_default="x")
    op.add_column("book", sa.Column("title", sa.String(80), nullable=False, server_default=""))
    op.alter_column("book", "author", new_column_name="author_id")
    op.create_foreign_key("book_author", "book", "author", ["author_id"], ["id"])
    op.create_index("book_title", "book", ["title"])
    op.create_unique_constraint("author_name", "author", ["name"])
    op.create_check_constraint("title_short", "book", "length(title) < 100")

def downgrade():
    op.drop_constraint("title_short", "book")
    op.drop_constraint("author_name", "author")
    op.drop_index("book_title")
    op.drop_constraint("book_author", "book")
    op.alter_column("book", "author_id", new_column_name="author")
    op.drop_column("book", "title")
    op.alter_column("author", "name", nullable=True, type_=sa.String(30), server_default=None)
'''
ENV = '''
import sqlalchemy as sa
from alembic import context
with sa.create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
'''

model = sa.MetaData()
author = sa.Table("author", model, sa.Column("id", sa.Integer, primary_key=True),
                  sa.Column("name", sa.Text, nullable=False, server_default="x", unique=True))
author.constraints = {c for c in author.constraints if not isinstance(c, sa.UniqueConstraint)}
author.append_constraint(sa.UniqueConstraint("name", name="author_name"))
book = sa.Table("book", model, sa.Column("id", sa.Integer, primary_key=True),
                sa.Column("author_id", sa.ForeignKey("author.id", name="book_author")),
                sa.Column("title", sa.String(80), nullable=False, server_default="", index=False))
sa.Index("book_title", book.c.title)

folder = pathlib.Path("migrations")
(folder / "versions").mkdir(parents=True)
(folder / "env.py").write_text(ENV)
(folder / "script.py.mako").write_text("")
(folder / "versions" / "a1.py").write_text(FIRST)
(folder / "versions" / "b2.py").write_text(SECOND)
config = Config()
config.set_main_option("script_location", str(folder))
config.set_main_option("sqlalchemy.url", URL)

engine = sa.create_engine(URL)


def differences():
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return [d for d in compare_metadata(context, model) if "alembic_version" not in str(d)]


command.upgrade(config, "head")
assert differences() == [], differences()
with engine.connect() as connection:
    assert connection.scalar(sa.text("SELECT string_agg(name, ',' ORDER BY id) FROM author")) == "Ada,nobody"
command.downgrade(config, "a1")
assert {d[0] if isinstance(d, tuple) else d[0][0] for d in differences()} >= {"add_column", "add_index", "add_fk"}
command.upgrade(config, "b2")
assert differences() == [], differences()
command.downgrade(config, "base")
assert sa.inspect(engine).get_table_names() == ["alembic_version"]
with engine.begin() as connection:
    connection.execute(sa.text("DROP TABLE alembic_version"))
print("ok")

"""SQLAlchemy as applications use it: a schema made, reflected and compared, objects written and read, over each driver.

`alchemy.py HOST PORT`; ends with an error where a check fails."""

import asyncio
import datetime as dt
import decimal
import sys
import uuid

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, relationship, selectinload
from sqlalchemy.schema import CreateSchema, DropSchema

HOST, PORT = sys.argv[1], sys.argv[2]


class Base(DeclarativeBase):
    metadata = sa.MetaData(schema="shop")


class Customer(Base):
    __tablename__ = "customer"
    __table_args__ = {"comment": "who buys"}
    id = mapped_column(sa.BigInteger, sa.Identity(always=True, start=100), primary_key=True)
    name = mapped_column(sa.String(40), nullable=False, unique=True, comment="as on the invoice")
    kind = mapped_column(pg.ENUM("person", "company", name="kind", schema="shop"), server_default="person")
    tags = mapped_column(pg.ARRAY(sa.Text))
    details = mapped_column(pg.JSONB, default=dict)
    since = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    orders = relationship("Order", back_populates="customer", cascade="all, delete-orphan")


class Order(Base):
    __tablename__ = "order"
    __table_args__ = (
        sa.CheckConstraint("amount > 0", name="positive"),
        sa.Index("order_customer", "customer_id", sa.text("amount DESC")),
        sa.Index("order_open", "customer_id", unique=False, postgresql_where=sa.text("paid IS NULL")),
    )
    id = mapped_column(pg.UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    customer_id = mapped_column(sa.ForeignKey(Customer.id, ondelete="CASCADE"), nullable=False)
    amount = mapped_column(sa.Numeric(12, 2), nullable=False)
    doubled = mapped_column(sa.Numeric(12, 2), sa.Computed("amount * 2"))
    paid = mapped_column(sa.Date)
    customer = relationship(Customer, back_populates="orders")


def equal(got, want):
    assert got == want, f"{got!r} is not {want!r}"


def reflected(connection):
    """What inspection says of the schema, and that it can be made again from that."""
    found = sa.inspect(connection)
    assert "shop" in found.get_schema_names()
    equal(sorted(found.get_table_names("shop")), ["customer", "order"])
    equal([e["name"] for e in found.get_enums("shop")], ["kind"])
    equal(found.get_pk_constraint("customer", "shop")["constrained_columns"], ["id"])
    equal(found.get_table_comment("customer", "shop"), {"text": "who buys"})
    columns = {c["name"]: c for c in found.get_columns("customer", "shop")}
    equal(columns["name"]["comment"], "as on the invoice")
    equal(columns["id"]["identity"]["start"], 100)
    equal(str(columns["name"]["type"]), "VARCHAR(40)")
    equal(found.get_unique_constraints("customer", "shop")[0]["column_names"], ["name"])
    key = found.get_foreign_keys("order", "shop")[0]
    equal((key["referred_table"], key["options"]), ("customer", {"ondelete": "CASCADE"}))
    equal([c["name"] for c in found.get_check_constraints("order", "shop")], ["positive"])
    indexes = {i["name"]: i for i in found.get_indexes("order", "shop")}
    equal(sorted(indexes), ["order_customer", "order_open"])
    equal(indexes["order_customer"]["column_names"], ["customer_id", "amount"])
    equal(indexes["order_customer"]["column_sorting"], {"amount": ("desc",)})
    assert indexes["order_open"]["dialect_options"]["postgresql_where"]
    equal({c["name"] for c in found.get_columns("order", "shop") if "computed" in c}, {"doubled"})
    assert found.has_table("order", "shop") and found.has_index("order", "order_open", "shop")
    copy = sa.MetaData(schema="shop")
    copy.reflect(connection, schema="shop")
    equal(sorted(copy.tables), ["shop.customer", "shop.order"])
    Base.metadata.drop_all(connection)
    copy.create_all(connection)
    equal(sorted(sa.inspect(connection).get_table_names("shop")), ["customer", "order"])
    copy.drop_all(connection)
    Base.metadata.create_all(connection)


def objects(engine):
    with Session(engine) as session:
        ada = Customer(name="Ada", tags=["a", "b"], details={"x": [1, {"y": None}]})
        ada.orders = [Order(amount=decimal.Decimal("12.50")), Order(amount=1, paid=dt.date(2024, 2, 29))]
        session.add_all([ada, *(Customer(name=f"n{i}", kind="company") for i in range(200))])
        session.commit()
        equal((ada.id >= 100, ada.kind, ada.since.tzinfo is not None), (True, "person", True))
        equal(sorted(order.doubled for order in ada.orders), [decimal.Decimal("2.00"), decimal.Decimal("25.00")])
        try:
            with session.begin_nested():
                session.add(Customer(name="Ada"))
        except sa.exc.IntegrityError:
            pass
        else:
            raise AssertionError("a name twice")
        query = sa.select(Customer).options(selectinload(Customer.orders)).where(Customer.tags.contains(["a"]))
        equal([c.name for c in session.scalars(query)], ["Ada"])
        equal(session.scalar(sa.select(Customer.details["x"][1].cast(sa.Text)).where(Customer.id == ada.id)), '{"y": null}')
        total = sa.select(Customer.kind, sa.func.count()).group_by(Customer.kind).order_by(Customer.kind)
        equal([tuple(row) for row in session.execute(total)], [("person", 1), ("company", 200)])
        rows = [{"name": "Ada", "kind": "company"}, {"name": "Bob", "kind": "company"}]
        insert = pg.insert(Customer)
        insert = insert.on_conflict_do_update(index_elements=["name"], set_={"kind": insert.excluded.kind})
        equal(sorted(session.scalars(insert.returning(Customer.name), rows)), ["Ada", "Bob"])
        session.execute(sa.select(Customer).where(Customer.name == "Ada").with_for_update(skip_locked=True)).one()
        streamed = session.execute(sa.select(Customer.id), execution_options={"yield_per": 50})
        equal(sum(len(part) for part in streamed.partitions()), 202)
        session.delete(session.get(Customer, ada.id))
        session.commit()
        equal(session.scalar(sa.select(sa.func.count()).select_from(Order)), 0)
        session.execute(sa.delete(Customer))
        session.commit()


async def asynchronous():
    engine = create_async_engine(f"postgresql+asyncpg://postgres@{HOST}:{PORT}/postgres")
    async with engine.begin() as connection:
        await connection.run_sync(reflected)
        statement = sa.insert(Customer).values(name="Eve", tags=["x"]).returning(Customer.id, Customer.tags)
        equal((await connection.execute(statement)).one().tags, ["x"])
        found = [row.name async for row in await connection.stream(sa.select(Customer.__table__))]
        equal(found, ["Eve"])
        await connection.execute(sa.delete(Customer))
    await engine.dispose()


for driver in ("psycopg", "psycopg2", "pg8000", "asyncpg"):
    engine = sa.create_engine(f"postgresql+psycopg://postgres@{HOST}:{PORT}/postgres")
    with engine.begin() as connection:
        connection.execute(CreateSchema("shop"))
        Base.metadata.create_all(connection)
    if driver == "asyncpg":
        asyncio.run(asynchronous())
    else:
        used = sa.create_engine(f"postgresql+{driver}://postgres@{HOST}:{PORT}/postgres")
        with used.begin() as connection:
            reflected(connection)
        objects(used)
        used.dispose()
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        connection.execute(DropSchema("shop", cascade=True))
    engine.dispose()
    print("ok", driver)

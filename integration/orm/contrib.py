"""Django: the migrations of its contrib apps up and down, their models, introspection. `contrib.py HOST PORT`"""

import io
import sys

import django
from django.conf import settings

APPS = ["auth", "contenttypes", "sessions", "admin", "sites", "flatpages", "redirects", "messages"]
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": sys.argv[1],
            "PORT": sys.argv[2],
            "USER": "postgres",
            "NAME": "postgres",
        }
    },
    INSTALLED_APPS=[f"django.contrib.{app}" for app in APPS],
    SITE_ID=1,
    SECRET_KEY="x",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SILENCED_SYSTEM_CHECKS=["admin.E403", "admin.E408", "admin.E409", "admin.E410"],
)
django.setup()

from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, transaction  # noqa: E402
from django.db.models import Count, F  # noqa: E402

call_command("migrate", verbosity=0)
call_command("migrate", "--check", verbosity=0)

ada = User.objects.create_user("ada", "ada@example.org", "secret")
group = Group.objects.create(name="group")
ada.groups.add(group)
group.permissions.set(Permission.objects.all()[:5])
found = User.objects.filter(groups__name="group", username__icontains="AD").annotate(n=Count("groups__permissions"))
assert found.get().n == 5
try:
    with transaction.atomic():
        User.objects.create_user("bob")
        with transaction.atomic():
            User.objects.create_user("bob")
except IntegrityError:
    pass
assert not User.objects.filter(username="bob").exists()
with transaction.atomic():
    assert len(User.objects.select_for_update().filter(pk=ada.pk)) == 1
    User.objects.filter(pk=ada.pk).update(first_name=F("username"))
assert User.objects.get(pk=ada.pk).first_name == "ada"
made = User.objects.bulk_create([User(username=f"u{i}") for i in range(50)])
assert len({user.pk for user in made}) == 50
assert User.objects.update_or_create(username="u1", defaults={"last_name": "x"})[1] is False
assert len(list(User.objects.iterator(chunk_size=10))) == 51

with connection.cursor() as cursor:
    introspection = connection.introspection
    tables = introspection.table_names(cursor)
    assert "auth_user" in tables
    for table in tables:
        assert introspection.get_table_description(cursor, table)
        introspection.get_relations(cursor, table)
        introspection.get_sequences(cursor, table)
    constraints = introspection.get_constraints(cursor, "auth_user_groups").values()
    kinds = {kind: sorted(c["columns"] for c in constraints if c[kind]) for kind in ("primary_key", "unique", "foreign_key")}
    assert kinds["primary_key"] == [["id"]], kinds
    assert kinds["foreign_key"] == [["group_id"], ["user_id"]], kinds
    assert ["user_id", "group_id"] in kinds["unique"], kinds
    indexes = {tuple(c["columns"]): c["orders"] for c in constraints if c["index"] and c["type"] == "idx"}
    assert indexes[("user_id",)] == ["ASC"], indexes
models = io.StringIO()
call_command("inspectdb", stdout=models)
assert "class AuthUser(models.Model)" in models.getvalue() and "Unable to inspect" not in models.getvalue()

call_command("flush", verbosity=0, interactive=False)
assert User.objects.count() == 0
for app in ("flatpages", "redirects", "sites", "admin", "sessions", "auth", "contenttypes"):
    call_command("migrate", app, "zero", verbosity=0)
assert connection.introspection.table_names() == ["django_migrations"]
with connection.cursor() as cursor:
    cursor.execute("DROP TABLE django_migrations")
print("ok")

"""Name of a service's node, from FEDBUS_NAME and the login at the broker. Pure.

A broker with accounts allows a node to publish only under the name of its login, and drops all
other messages without notice. So the login decides, and a FEDBUS_NAME that contradicts it is
refused at the start.
"""

import re

from fedbus.errors import SettingsError
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire.identifiers import ROLES

DEFAULT = "1"


def node_name(role: str, given: str | None, login: str | None) -> str:
    """Return the node name of a service.

    Args:
        role: Role of the service, such as `agent`.
        given: FEDBUS_NAME, the name without its role; None: not set.
        login: The user name in FEDBUS_BROKER; None: there is none. A login that does not begin with
            a role and a dot may be shared by many nodes of a broker without access rules.

    Raises:
        SettingsError: the login belongs to another role or name.
    """
    if not names_a_node(login):
        return f"{role}.{DEFAULT if given is None else given}"
    login_role, _, login_name = str(login).partition(".")
    if login_role != role:
        raise SettingsError(
            f"FEDBUS_BROKER logs in as {login}, but this is the service {role!r}: the broker would "
            f"drop its messages. Log in as {role}.{given or 'NAME'}, an account of its own"
        )
    if re.fullmatch(IDENT, login_name) is None:
        raise SettingsError(
            f"FEDBUS_BROKER logs in as {login!r}: the name behind {role}. is not {IDENT_SAID}; the "
            f"account needs another name, as {role}.pi-7"
        )
    if given is not None and given != login_name:
        if given.startswith(f"{role}."):
            bare = given.removeprefix(f"{role}.")
            raise SettingsError(
                f"FEDBUS_NAME={given}: FEDBUS_NAME is the name without its role: {bare}"
            )
        raise SettingsError(
            f"FEDBUS_NAME={given} would make this node {role}.{given}, but FEDBUS_BROKER logs in "
            f"as {login}: the broker would drop its messages. Leave FEDBUS_NAME out, and this node "
            f"is {login}; or log in as {role}.{given}"
        )
    return f"{role}.{login_name}"


def names_a_node(login: str | None) -> bool:
    """Return whether a login is a node name, `role.name`."""
    return login is not None and login.partition(".")[0] in ROLES and "." in login

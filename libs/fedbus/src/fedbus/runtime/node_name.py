"""A service's name on the bus, from FEDBUS_NAME and its login at the broker. Pure.

A broker with accounts lets a node publish under the name of its login only, and drops all else
without a word. So the login decides, and a FEDBUS_NAME that contradicts it is refused at the start.
"""

import re

from fedbus.errors import SettingsError
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire.identifiers import ROLES

DEFAULT = "1"


def node_name(role: str, given: str | None, login: str | None) -> str:
    """Name the node of a service.

    Args:
        role: What the service is: `agent`.
        given: FEDBUS_NAME, the name without its role, where it is set.
        login: The user name in FEDBUS_BROKER, where there is one. Only one that begins with a role
            and a dot names a node; any other may be shared by many nodes of a broker without rules.

    Raises:
        SettingsError: the login belongs to another role or name; says both, and how to mend it.
    """
    if not names_a_node(login):
        return f"{role}.{DEFAULT if given is None else given}"
    login_role, _, login_name = str(login).partition(".")
    if login_role != role:
        raise SettingsError(
            f"FEDBUS_BROKER logs in as {login}, but this is the service {role!r}: the broker would "
            f"drop all it says. Log in as {role}.{given or 'NAME'}, an account of its own"
        )
    if re.fullmatch(IDENT, login_name) is None:
        raise SettingsError(
            f"FEDBUS_BROKER logs in as {login!r}: the name behind {role}. is not {IDENT_SAID}; the "
            f"account needs another name, as {role}.pi-7"
        )
    if given is not None and given != login_name:
        raise SettingsError(
            f"FEDBUS_NAME={given} would make this node {role}.{given}, but FEDBUS_BROKER logs in "
            f"as {login}: the broker would drop all it says. Leave FEDBUS_NAME out, and this node "
            f"is {login}; or log in as {role}.{given}"
        )
    return f"{role}.{login_name}"


def names_a_node(login: str | None) -> bool:
    """Tell whether a login is one node's own, `role.name`."""
    return login is not None and login.partition(".")[0] in ROLES and "." in login

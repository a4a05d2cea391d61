from __future__ import annotations

from typing import Any

from gateway.cli.objects.plan_text import plan_text


def change(kind: str, what: str, *details: dict[str, str]) -> dict[str, Any]:
    return {"Kind": kind, "What": what, "KeyPath": "", "Details": list(details)}


def test_a_plan_reads_as_lines_and_what_they_do_to_people() -> None:
    reply = {
        "Changes": [
            change("create", "a", {"Key": "vpn_port", "New": "443"}),
            change("modify", "b", {"Key": "description", "Old": "", "New": "x"}, {"Key": "listen", "Old": "::"}),
            change("delete", "c"),
        ],
        "Access": [
            {"Endpoint": "staff", "AllGroups": True, "Gains": ["10.0.0.0/8"], "Losses": ["10.20.0.0/24"]},
            {"Endpoint": "staff", "AllGroups": False, "GroupId": "finance", "Gains": [], "Losses": []},
        ],
        "Sessions": [
            {
                "Endpoint": "staff",
                "CommonName": "ana",
                "ConnectionId": "cvpn-connection-1",
                "Effects": ["reconnects", "access changes"],
                "Gains": ["10.0.0.0/8"],
                "Losses": [],
            },
            {"Endpoint": "old", "Username": "ben", "Effects": ["is cut off"], "Losses": ["10.0.0.0/8"]},
        ],
        "Notes": ["One thing stays."],
    }
    assert plan_text(reply) == (
        "+ a\n"
        "    vpn_port: 443\n"
        "~ b\n"
        '    description: "" → x\n'
        "    listen: :: → (none)\n"
        "- c\n"
        "\n"
        "Access:\n"
        '+ everyone gains 10.0.0.0/8 at endpoint "staff"\n'
        '- everyone loses 10.20.0.0/24 at endpoint "staff"\n'
        '= for the group "finance" nothing changes at endpoint "staff"\n'
        "\n"
        "Connected users:\n"
        '! ana at endpoint "staff": reconnects, access changes; gains 10.0.0.0/8\n'
        '! ben at endpoint "old": is cut off\n'
        "\n"
        "One thing stays.\n"
        "1 to create, 1 to modify, 1 to delete."
    )


def test_where_nothing_is_to_do_it_says_so_in_a_line() -> None:
    assert plan_text({"Changes": []}) == "Nothing to do: the store is as the file says."


def test_many_networks_are_counted() -> None:
    networks = [f"10.{number}.0.0/16" for number in range(20)]
    reply = {
        "Changes": [change("create", "a")],
        "Access": [{"Endpoint": "staff", "AllGroups": True, "Gains": networks, "Losses": []}],
    }
    assert "10.7.0.0/16 and 12 more networks at" in plan_text(reply)

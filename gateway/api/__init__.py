"""The API: EC2's Query protocol for Client VPN, served beside the gateway in a process without privileges.

    octets ▶ app ▶ signature ▶ parsing ▶ dispatch ▶ gateway.actions ▶ serializing ▶ octets

Owns HTTP, who calls, and what is the same for every action. Must not know what actions do, nor gateways: the store is
where they meet.
"""

from broker.proxy.usage_metrics import UsageMetrics
from broker.proxy.usage_table import Table


def test_sums_for_all_and_series_for_some() -> None:
    table = Table()
    metrics = UsageMetrics(table, 2)
    for account, prompt in (("gemini/alice@example.com", 30), ("gemini/bob@example.com", 12)):
        row = table.row(("ci", account, "gemini-2.5-pro"))
        row.requests += 1
        row.prompt += prompt
        row.untold += 1
        row.seconds += 0.25
    public = metrics.text(rows=False).decode()
    assert 'ccs_proxy_tokens_total{kind="prompt",worker="2"} 42.0' in public
    assert 'ccs_proxy_untold_total{worker="2"} 2.0' in public
    assert "alice" not in public
    whole = metrics.text(rows=True).decode()
    assert whole.startswith(public)
    labels = 'account="gemini/bob@example.com",key="ci",model="gemini-2.5-pro",worker="2"'
    assert f"ccs_proxy_usage_requests_total{{{labels}}} 1.0" in whole
    assert f"ccs_proxy_usage_seconds_total{{{labels}}} 0.25" in whole
    assert 'ccs_proxy_usage_tokens_total{account="gemini/bob@example.com",key="ci",kind="prompt",' in whole
    assert 'account="other"' not in whole

"""What the dashboards show, as data: a page has rows, a row has panels, a panel has questions in PromQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ENVIRONMENT = 'environment=~"$environment"'
OURS = 'job="touchstone"'  # Prometheus has a process too


@dataclass(frozen=True)
class PanelSpec:
    """A panel: what it is called, what it asks by legend, in what unit, and what a reader should know."""

    title: str
    asks: Mapping[str, str]
    unit: str = "short"
    about: str = ""
    kind: Literal["line", "number"] = "line"


@dataclass(frozen=True)
class RowSpec:
    """A row of panels; its title is a stage word where it is about a stage."""

    title: str
    panels: tuple[PanelSpec, ...]


@dataclass(frozen=True)
class PageSpec:
    """A dashboard."""

    uid: str
    title: str
    about: str
    rows: tuple[RowSpec, ...]


def rate(name: str, by: str = "", more: str = "") -> str:
    """The rate of a counter, summed over the servers."""
    labels = f"{ENVIRONMENT}, {more}" if more else ENVIRONMENT
    return f"sum{f' by ({by})' if by else ''} (rate({name}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, name: str, by: str = "", more: str = "") -> str:
    """A quantile of a histogram over all servers."""
    return f"histogram_quantile({share:g}, {rate(f'{name}_bucket', f'le, {by}' if by else 'le', more)})"


def gauge(name: str, how: str = "sum", by: str = "", more: str = "") -> str:
    """A gauge over all servers."""
    labels = f"{ENVIRONMENT}, {more}" if more else ENVIRONMENT
    return f"{how}{f' by ({by})' if by else ''} ({name}{{{labels}}})"


def recorded(name: str, more: str = "") -> str:
    """What a recording rule computed."""
    return f"{name}{{{ENVIRONMENT}{f', {more}' if more else ''}}}"


def stage(name: str) -> PanelSpec:
    """How long a stage takes."""
    only = f'stage="{name}"'
    asks = {f"{share * 100:g} % within": quantile(share, "touchstone_stage_seconds", more=only) for share in (0.5, 0.95)}
    return PanelSpec(f"Time of the stage {name}", asks, "s")


QUALITY = PageSpec(
    "touchstone-quality",
    "Quality",
    "Whether answers are right, as far as it can be seen without a golden set.",
    (
        RowSpec(
            "answer",
            (
                PanelSpec(
                    "Ungrounded answers",
                    {"{{environment}}": recorded("environment:touchstone_ungrounded:ratio_rate1h")},
                    "percentunit",
                    "Share of the answers shown in the last hour that hold a claim which the passages do not support; alert above 10 %.",
                ),
                PanelSpec(
                    "Refusals",
                    {"{{environment}}": recorded("environment:touchstone_refused:ratio_rate1h")},
                    "percentunit",
                    "Share of the questions of the last hour without an answer; alert above 50 %.",
                ),
                PanelSpec("Answers", {"{{outcome}}": rate("touchstone_role_answers_total", "outcome", 'role!="shadow"')}, "reqps"),
                PanelSpec(
                    "Confidence",
                    {f"{share * 100:g} % below": quantile(share, "touchstone_answer_confidence") for share in (0.1, 0.5, 0.9)},
                    "percentunit",
                    "Probability that an answer is right, where a check tells it.",
                ),
            ),
        ),
        RowSpec(
            "guard",
            (PanelSpec("What checks of answers found", {"{{finding}}": rate("touchstone_answer_findings_total", "finding")}, "reqps"),),
        ),
        RowSpec(
            "retrieve",
            (
                PanelSpec(
                    "Questions that find no passage",
                    {"{{environment}}": recorded("environment:touchstone_empty_retrieval:ratio_rate30m")},
                    "percentunit",
                ),
            ),
        ),
        RowSpec(
            "cache",
            (
                PanelSpec(
                    "Audits of cached answers",
                    {"{{outcome}}": rate("touchstone_cache_audits_total", "outcome")},
                    "reqps",
                    "Cached answers are compared with fresh ones; what disagrees was the answer to another question.",
                ),
            ),
        ),
        RowSpec(
            "people",
            (
                PanelSpec(
                    "Thumbs", {"{{value}}": f'sum by (value) (increase(touchstone_feedback_total{{{ENVIRONMENT}, kind="thumbs"}}[1h]))'}
                ),
                PanelSpec("Feedback", {"{{kind}}": f"sum by (kind) (increase(touchstone_feedback_total{{{ENVIRONMENT}}}[1h]))"}),
            ),
        ),
    ),
)

PERFORMANCE = PageSpec(
    "touchstone-performance",
    "Performance",
    "Whether questions are answered, and how soon: of the whole, then stage by stage.",
    (
        RowSpec(
            "service",
            (
                PanelSpec("Ready servers", {"": gauge("touchstone_ready")}, kind="number"),
                PanelSpec("Questions", {"{{environment}}": recorded("environment:touchstone_questions:rate5m")}, "reqps", kind="number"),
                PanelSpec(
                    "Errors of the last hour",
                    {"{{environment}}": recorded("environment:touchstone_errors:ratio_rate1h")},
                    "percentunit",
                    "The objective is at most 0.5 % over 30 days.",
                    kind="number",
                ),
                PanelSpec(
                    "Slower than 2.5 s in the last hour",
                    {"{{environment}}": recorded("environment:touchstone_slow:ratio_rate1h")},
                    "percentunit",
                    "The objective is at most 5 % over 30 days.",
                    kind="number",
                ),
                PanelSpec("Requests", {"{{status}}": rate("touchstone_requests_total", "status")}, "reqps"),
                PanelSpec(
                    "Time of a question",
                    {f"{share * 100:g} % within": quantile(share, "touchstone_query_seconds") for share in (0.5, 0.95, 0.99)},
                    "s",
                ),
                PanelSpec(
                    "How fast the error budget burns",
                    {
                        f"{name}, {window}": recorded(f"environment:touchstone_{kind}:ratio_rate{window}") + f" / {budget}"
                        for name, kind, budget in (("errors", "errors", 0.005), ("slow", "slow", 0.05))
                        for window in ("1h", "6h", "1d")
                    },
                    about="1 spends the budget of 30 days in 30 days; 14.4 within two.",
                ),
                PanelSpec("Failures in the pipeline", {"{{error}}": rate("touchstone_failed_queries_total", "error")}, "reqps"),
                PanelSpec(
                    "Questions at work, waiting, abandoned",
                    {
                        "at work": gauge("touchstone_queries_in_flight"),
                        "waiting": gauge("touchstone_queries_waiting"),
                        "abandoned": gauge("touchstone_queries_abandoned"),
                    },
                ),
                PanelSpec(
                    "Connections",
                    {"open": gauge("touchstone_connections"), "ended: {{reason}}": rate("touchstone_connections_ended_total", "reason")},
                ),
                PanelSpec("Memory", {"{{instance}}": gauge("process_resident_memory_bytes", "max", "instance", OURS)}, "bytes"),
                PanelSpec("Processor", {"{{instance}}": rate("process_cpu_seconds_total", "instance", OURS)}, "percentunit"),
                PanelSpec(
                    "Traces and scores that wait, and that were lost",
                    {
                        "waiting": gauge("touchstone_traces_waiting"),
                        "lost": gauge("touchstone_traces_lost"),
                        "scores waiting": gauge("touchstone_scores_waiting"),
                        "scores lost": gauge("touchstone_scores_lost"),
                    },
                ),
            ),
        ),
        RowSpec("guard", (stage("guard"),)),
        RowSpec(
            "cache",
            (
                stage("cache"),
                PanelSpec(
                    "Share of questions answered from the cache",
                    {"{{environment}}": recorded("environment:touchstone_cache_hits:ratio_rate1h")},
                    "percentunit",
                ),
                PanelSpec("Hits", {"{{kind}}": rate("touchstone_cache_hits_total", "kind")}, "reqps"),
                PanelSpec("Misses", {"{{reason}}": rate("touchstone_cache_misses_total", "reason")}, "reqps"),
                PanelSpec("How far the cache reaches", {"{{reach}}": gauge("touchstone_cache_reach", "max", "reach")}),
                PanelSpec(
                    "Trouble with Redis",
                    {
                        "failed round trips": rate("touchstone_cache_backend_errors_total"),
                        "broken seals": rate("touchstone_cache_broken_entries_total"),
                    },
                    "ops",
                ),
            ),
        ),
        RowSpec("retrieve", (stage("retrieve"),)),
        RowSpec("route", (stage("route"),)),
        RowSpec(
            "answer",
            (
                stage("answer"),
                PanelSpec(
                    "Time to the first words",
                    {f"{share * 100:g} % within": quantile(share, "touchstone_first_token_seconds") for share in (0.5, 0.95)},
                    "s",
                    "From asking the model, where the answer is streamed.",
                ),
                PanelSpec(
                    "Models that are left alone",
                    {"{{model}}": f'max by (model) (touchstone_model_breaker{{{ENVIRONMENT}, state="open"}})'},
                    about="1 while a model's breaker is open.",
                ),
                PanelSpec(
                    "Times a model did not answer", {"{{tier}}: {{error}}": rate("touchstone_model_outages_total", "tier, error")}, "ops"
                ),
                PanelSpec("Answers of passages alone", {"": rate("touchstone_degraded_total")}, "reqps"),
                PanelSpec(
                    "Tokens a second",
                    {f"{share * 100:g} % below": quantile(share, "touchstone_output_tokens_per_second") for share in (0.05, 0.5, 0.95)},
                    about="That a model writes, over the whole stage.",
                ),
                PanelSpec("Answers cut off at their model's limit", {"": rate("touchstone_truncated_total")}, "reqps"),
            ),
        ),
        RowSpec(
            "cluster",
            (
                PanelSpec(
                    "Since a job last succeeded",
                    {
                        "{{environment}}: {{cronjob}}": "time() - "
                        + gauge("kube_cronjob_status_last_successful_time", "max", "environment, cronjob")
                    },
                    "s",
                    "Empty without kube-state-metrics, as this row is; alert above twice the time from one run to the next.",
                ),
                PanelSpec(
                    "Failed runs that are kept", {"{{environment}}": gauge("kube_job_failed", "sum", "environment", 'condition="true"')}
                ),
                PanelSpec(
                    "Pods that are wanted, and available",
                    {
                        "{{environment}}: wanted": gauge("kube_deployment_spec_replicas", "sum", "environment"),
                        "{{environment}}: available": gauge("kube_deployment_status_replicas_available", "sum", "environment"),
                    },
                    about="Of deployments; a channel that sleeps wants none.",
                ),
                PanelSpec(
                    "Restarts of an hour",
                    {
                        "{{environment}}: {{pod}}": "sum by (environment, pod) "
                        f"(changes(kube_pod_container_status_restarts_total{{{ENVIRONMENT}}}[1h])) > 0"
                    },
                    about="Alert above two.",
                ),
            ),
        ),
    ),
)

COST = PageSpec(
    "touchstone-cost",
    "Cost",
    "What questions cost, against the budget. Money that is `simulated` is that of the model a local one stands in for.",
    (
        RowSpec(
            "money",
            (
                PanelSpec(
                    "Last 24 hours", {"{{environment}}": recorded("environment:touchstone_usd:increase1d")}, "currencyUSD", kind="number"
                ),
                PanelSpec(
                    "Share of the day's budget",
                    {"{{environment}}": recorded("environment:touchstone_budget_spent:ratio_today")},
                    "percentunit",
                    "Since midnight UTC; alert above 80 %.",
                    kind="number",
                ),
                PanelSpec(
                    "Budget of a day", {"": gauge("touchstone_budget_usd_per_day", "max")}, "currencyUSD", "0: no budget.", kind="number"
                ),
                PanelSpec(
                    "A thousand questions",
                    {"{{environment}}": "1000 * " + recorded("environment:touchstone_usd_per_query:rate1h")},
                    "currencyUSD",
                    "At the last hour's cost of a question; alert above 2 dollars.",
                    kind="number",
                ),
                PanelSpec("Dollars an hour, by model", {"{{model}}": "3600 * " + rate("touchstone_usd_total", "model")}, "currencyUSD"),
                PanelSpec("Dollars an hour, by stage", {"{{stage}}": "3600 * " + rate("touchstone_usd_total", "stage")}, "currencyUSD"),
                PanelSpec(
                    "Billed and simulated",
                    {"simulated: {{simulated}}": "3600 * " + rate("touchstone_usd_total", "simulated")},
                    "currencyUSD",
                ),
                PanelSpec("Calls without a known price", {"{{model}}": rate("touchstone_unpriced_calls_total", "model")}, "ops"),
            ),
        ),
        RowSpec("cache", (PanelSpec("Questions that cost nothing", {"{{kind}}": rate("touchstone_cache_hits_total", "kind")}, "reqps"),)),
        RowSpec(
            "route",
            (
                PanelSpec("Answers by tier", {"{{tier}}": rate("touchstone_answers_total", "tier")}, "reqps"),
                PanelSpec("Given up for a dearer tier", {"{{tier}}": rate("touchstone_escalated_total", "tier")}, "reqps"),
            ),
        ),
        RowSpec(
            "answer",
            (PanelSpec("Tokens", {"{{direction}}, {{model}}": rate("touchstone_tokens_total", "direction, model")}, "ops"),),
        ),
    ),
)

RETRIEVAL = PageSpec(
    "touchstone-retrieval",
    "Retrieval",
    "What is found, and on what it stands.",
    (
        RowSpec(
            "retrieve",
            (
                PanelSpec(
                    "Passages found",
                    {f"{share * 100:g} % have at most": quantile(share, "touchstone_hits") for share in (0.05, 0.5, 0.95)},
                ),
                PanelSpec(
                    "Questions that find none",
                    {"{{environment}}": recorded("environment:touchstone_empty_retrieval:ratio_rate30m")},
                    "percentunit",
                    "Alert above 20 %.",
                ),
                PanelSpec(
                    "Score of the best passage",
                    {f"{share * 100:g} % below": quantile(share, "touchstone_best_score") for share in (0.05, 0.5, 0.95)},
                    about="On the searcher's own scale: compare it with itself, before and after a release.",
                ),
                PanelSpec(
                    "Passages left out",
                    {
                        "says the same as another": rate("touchstone_duplicate_passages_total"),
                        "no room in the prompt": rate("touchstone_dropped_passages_total"),
                    },
                    "ops",
                ),
                PanelSpec(
                    "Share of the passages that the answer cites",
                    {f"{share * 100:g} % below": quantile(share, "touchstone_cited_share") for share in (0.05, 0.5, 0.95)},
                    "percentunit",
                ),
                stage("retrieve"),
            ),
        ),
        RowSpec(
            "index",
            (
                PanelSpec(
                    "Age of the index",
                    {"{{instance}}": f"time() - max by (instance) (touchstone_index_created_timestamp_seconds{{{ENVIRONMENT}}} > 0)"},
                    "s",
                    "Alert above 30 days.",
                    kind="number",
                ),
                PanelSpec(
                    "Oldest change to documents that is not served",
                    {"{{instance}}": gauge("touchstone_documents_behind_seconds", "max", "instance")},
                    "s",
                    "Alert above a quarter of an hour.",
                    kind="number",
                ),
                PanelSpec(
                    "Added documents",
                    {"{{state}}": gauge("touchstone_documents", "max", "state"), "removed": gauge("touchstone_documents_removed", "max")},
                    about="Beside the proven corpus; every server sees the same ones.",
                ),
                PanelSpec("Index and release", {"{{index}} ({{digest}})": gauge("touchstone_release_info", "count", "index, digest")}),
            ),
        ),
    ),
)

SAFETY = PageSpec(
    "touchstone-safety",
    "Safety",
    "What the guard did, and who was sent away.",
    (
        RowSpec(
            "guard",
            (
                PanelSpec(
                    "Incidents of ten minutes",
                    {"{{check}} ({{side}}) {{action}}": recorded("environment_action:touchstone_guard_incidents:increase10m")},
                    about="Alert above ten blocked texts.",
                ),
                PanelSpec(
                    "Rules that fired",
                    {"{{check}}: {{rule}}": "topk(15, " + rate("touchstone_guard_incidents_total", "check, rule") + ")"},
                    "ops",
                ),
                PanelSpec("Decisions", {"{{side}} {{action}}": rate("touchstone_guard_verdicts_total", "side, action")}, "ops"),
                PanelSpec(
                    "Checks that came to no verdict",
                    {"{{check}} ({{side}})": recorded("environment_check:touchstone_guard_failures:increase10m")},
                    about="They crashed, were too slow, or their service is out.",
                ),
                PanelSpec("What checks of answers found", {"{{finding}}": rate("touchstone_answer_findings_total", "finding")}, "ops"),
                stage("guard"),
            ),
        ),
        RowSpec(
            "access",
            (
                PanelSpec(
                    "Requests sent away", {"{{status}}": rate("touchstone_requests_total", "status", 'status=~"401|403|429|413"')}, "reqps"
                ),
                PanelSpec("Servers whose keys cannot be read", {"": gauge("touchstone_keys_unreadable")}, kind="number"),
                PanelSpec("Connections ended by the server", {"{{reason}}": rate("touchstone_connections_ended_total", "reason")}, "ops"),
            ),
        ),
        RowSpec("cache", (PanelSpec("Cached entries without our seal", {"": rate("touchstone_cache_broken_entries_total")}, "ops"),)),
    ),
)

RELEASES = PageSpec(
    "touchstone-releases",
    "Releases side by side",
    "The stable release beside the one that is tried: by role, and what is served where.",
    (
        RowSpec(
            "release",
            (
                PanelSpec("Served", {"{{channel}}: {{digest}}": gauge("touchstone_release_info", "count", "channel, digest")}),
                PanelSpec(
                    "Tried", {"{{channel}}: {{digest}} ({{mode}})": gauge("touchstone_candidate_info", "count", "channel, digest, mode")}
                ),
                PanelSpec("Servers that serve what is promoted", {"{{instance}}": gauge("touchstone_release_current", "max", "instance")}),
                PanelSpec("Candidates that cannot be tried", {"": gauge("touchstone_candidate_broken")}, kind="number"),
            ),
        ),
        RowSpec(
            "answer",
            (
                PanelSpec("Answers by role", {"{{role}}": rate("touchstone_role_answers_total", "role")}, "reqps"),
                PanelSpec(
                    "Answers by release",
                    {"{{release}} ({{role}})": rate("touchstone_release_answers_total", "release, role")},
                    "reqps",
                    "Where one ends and another begins is when the channel was moved.",
                ),
                PanelSpec("Ungrounded", {"{{role}}": recorded("environment_role:touchstone_ungrounded:ratio_rate1h")}, "percentunit"),
                PanelSpec("Refused", {"{{role}}": recorded("environment_role:touchstone_refused:ratio_rate1h")}, "percentunit"),
                PanelSpec("Time: half within", {"{{role}}": quantile(0.5, "touchstone_role_query_seconds", "role")}, "s"),
                PanelSpec("Time: 95 % within", {"{{role}}": quantile(0.95, "touchstone_role_query_seconds", "role")}, "s"),
                PanelSpec(
                    "A thousand answers",
                    {"{{role}}": f"1000 * {rate('touchstone_role_usd_total', 'role')} / {rate('touchstone_role_answers_total', 'role')}"},
                    "currencyUSD",
                ),
            ),
        ),
        RowSpec(
            "shadow",
            (
                PanelSpec("Shadow beside shown", {"{{verdict}}": rate("touchstone_shadow_pairs_total", "verdict")}, "reqps"),
                PanelSpec(
                    "Share that disagrees, of a day",
                    {"{{environment}}": recorded("environment:touchstone_shadow_disagreed:ratio1d")},
                    "percentunit",
                    "Alert above 30 %.",
                ),
                PanelSpec("Questions that the shadow was not asked", {"": gauge("touchstone_shadows_left_out")}, kind="number"),
            ),
        ),
    ),
)

PAGES = (QUALITY, PERFORMANCE, COST, RETRIEVAL, SAFETY, RELEASES)

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// Sizes of panels on Grafana's grid of 24 columns.
const (
	third, half, whole = 8, 12, 24
	height             = 8
)

// source is the data source that a person chooses.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// query is one query of a panel, and how its series are called.
type query struct{ expr, legend string }

func (q query) target() cog.Builder[variants.Dataquery] {
	return prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).Datasource(source())
}

// lines returns a panel of curves.
func lines(title, what, unit string, span uint32, queries ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().Title(title).Description(what).Unit(unit).Min(0).Span(span).Height(height).Datasource(source()).
		FillOpacity(10).ShowPoints(common.VisibilityModeNever)
	for _, q := range queries {
		p.WithTarget(q.target())
	}
	return p
}

// number returns a panel of one number a kind, which is red from a value on.
func number(title, what, unit string, red float64, q query) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(title).Description(what).Unit(unit).Span(third).Height(height).Datasource(source()).WithTarget(q.target()).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
			Steps([]dashboard.Threshold{{Color: "green"}, {Value: cog.ToPtr(red), Color: "red"}}))
}

// worst is the state of each lane as a number: the worst that any worker sees.
const worst = `max by (kind) (1 * outboxd_lane_state{state="gated",kind=~"$kind"} or 2 * outboxd_lane_state{state="broken",kind=~"$kind"}` +
	` or 3 * outboxd_lane_state{state="paused",kind=~"$kind"} or 4 * outboxd_lane_state{state="held",kind=~"$kind"})`

// states returns the panel that shows when each lane was in which state.
func states() *statetimeline.PanelBuilder {
	names := make(map[string]dashboard.ValueMappingResult)
	for i, s := range []struct{ name, color string }{{"open", "green"}, {"gated", "yellow"}, {"broken", "orange"}, {"paused", "blue"}, {"held", "red"}} {
		names[string(rune('0'+i))] = dashboard.ValueMappingResult{Text: cog.ToPtr(s.name), Color: cog.ToPtr(s.color), Index: cog.ToPtr(int32(i))}
	}
	mapping := dashboard.ValueMapping{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: names}}
	return statetimeline.NewPanelBuilder().Title("State of the lanes").Description("The worst that any worker sees.").Span(half).Height(height).Datasource(source()).
		Mappings([]dashboard.ValueMapping{mapping}).WithTarget(query{worst, "{{kind}}"}.target())
}

// note returns an annotation: a mark wherever the query has a value.
func note(name, color, expr string) *dashboard.AnnotationQueryBuilder {
	return dashboard.NewAnnotationQueryBuilder().Name(name).Datasource(source()).Enable(true).IconColor(color).Expr(expr)
}

// board returns the dashboard: five rows that answer one question after the other.
func board() *dashboard.DashboardBuilder {
	row := dashboard.NewRowBuilder
	return dashboard.NewDashboardBuilder("outboxd").Uid("outboxd").Tags([]string{"outboxd"}).Description("Made by cmd/dashboards; change it there.").
		Refresh("30s").Time("now-3h", "now").Timezone("browser").Tooltip(dashboard.DashboardCursorSyncCrosshair).Editable().
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(dashboard.NewQueryVariableBuilder("kind").Label("Kind").Datasource(source()).
			Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(outboxd_kind_served, kind)")}).
			Refresh(dashboard.VariableRefreshOnDashboardLoad).Multi(true).IncludeAll(true).AllValue(".*")).
		Annotation(note("held or paused", "red", `max by (kind, state) (outboxd_lane_state{state=~"held|paused"}) == 1`)).
		Annotation(note("another version", "blue", `count by (version) (outboxd_build_info) unless count by (version) (outboxd_build_info offset 2m)`)).
		WithRow(row("Are users waiting?")).
		WithPanel(number("Users wait for", "Since the oldest unfinished intent was first due.", "s", 300, query{`max by (kind) (outboxd_oldest_unfinished_age_seconds{kind=~"$kind"})`, "{{kind}}"})).
		WithPanel(heatmap.NewPanelBuilder().Title("From due to the first call").Description("How many intents waited how long.").Unit("s").Span(third).Height(height).Datasource(source()).
			WithTarget(prometheus.NewDataqueryBuilder().Datasource(source()).Format(prometheus.PromQueryFormatHeatmap).LegendFormat("{{le}}").
				Expr(`sum by (le) (increase(outboxd_queue_delay_seconds_bucket{kind=~"$kind"}[$__rate_interval]))`))).
		WithPanel(number("In time, last hour", "Intents whose first call came within a second. The aim is 99.9 %.", "percentunit", 0, query{
			`sum by (kind) (increase(outboxd_queue_delay_seconds_bucket{kind=~"$kind",le=~"1(\\.0)?"}[1h])) / sum by (kind) (increase(outboxd_queue_delay_seconds_count{kind=~"$kind"}[1h]))`, "{{kind}}"}).
			Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{{Color: "red"}, {Value: cog.ToPtr(0.999), Color: "green"}}))).
		WithRow(row("Why?")).
		WithPanel(states()).
		WithPanel(lines("Answers of providers", "None: no answer came.", "reqps", half, query{`sum by (provider, status) (rate(outboxd_provider_replies_total[$__rate_interval]))`, "{{provider}} {{status}}"})).
		WithPanel(lines("Trouble of transport", "What whoever runs this can mend, by code.", "ops", half, query{`sum by (kind, code) (rate(outboxd_failures_total{side="transport",kind=~"$kind"}[$__rate_interval])) > 0`, "{{kind}} {{code}}"})).
		WithPanel(lines("Needs a person, or soon will", "Ambiguous dead letters, doubts, and outcomes that cannot be written.", "short", half,
			query{`max by (kind) (outboxd_ambiguous_dead{kind=~"$kind"})`, "{{kind}} ambiguous"}, query{`max by (kind) (outboxd_in_doubt{kind=~"$kind"})`, "{{kind}} in doubt"},
			query{`max by (kind) (outboxd_outcomes_unwritten{kind=~"$kind"})`, "{{kind}} unwritten"})).
		WithRow(row("What became of it?")).
		WithPanel(lines("Done", "", "ops", third, query{`sum by (kind) (rate(outboxd_settled_total{status="done",kind=~"$kind"}[$__rate_interval]))`, "{{kind}}"})).
		WithPanel(lines("Business says no", "Declined cards, bad addresses: nobody is woken for these.", "ops", third, query{`sum by (kind, code) (rate(outboxd_failures_total{side="business",kind=~"$kind"}[$__rate_interval])) > 0`, "{{kind}} {{code}}"})).
		WithPanel(lines("Dead letters", "By reason.", "short", third, query{`sum by (kind, reason) (increase(outboxd_dead_letters_total{kind=~"$kind"}[$__rate_interval])) > 0`, "{{kind}} {{reason}}"})).
		WithRow(row("Is there room?")).
		WithPanel(lines("Waiting and due", "Counted up to 10,000.", "short", third, query{`max by (kind) (outboxd_due{kind=~"$kind"})`, "{{kind}} due"}, query{`max by (kind) (outboxd_waiting{kind=~"$kind"})`, "{{kind}} waiting"})).
		WithPanel(lines("Slots in use", "", "percentunit", third, query{`sum by (kind) (outboxd_in_flight{kind=~"$kind"}) / sum by (kind) (outboxd_slots{kind=~"$kind"} > 0)`, "{{kind}}"})).
		WithPanel(lines("Workers", "", "short", third, query{`max by (kind) (outboxd_workers{kind=~"$kind"})`, "{{kind}}"})).
		WithPanel(lines("Claims and settles, p95", "What the database costs.", "s", third,
			query{`histogram_quantile(0.95, sum by (le) (rate(outboxd_claim_duration_seconds_bucket[$__rate_interval])))`, "claim"},
			query{`histogram_quantile(0.95, sum by (le) (rate(outboxd_settle_duration_seconds_bucket[$__rate_interval])))`, "settle"})).
		WithPanel(lines("Silence of the database", "Since it last answered each worker.", "s", third, query{`max by (instance) (outboxd_database_silent_seconds)`, "{{instance}}"})).
		WithPanel(lines("Leases lost, settles failed", "", "ops", third, query{`sum(rate(outboxd_lease_lost_total[$__rate_interval]))`, "leases lost"}, query{`sum(rate(outboxd_settle_errors_total[$__rate_interval]))`, "settles failed"})).
		WithRow(row("One kind: $kind")).
		WithPanel(lines("Attempts by outcome", "", "ops", half, query{`sum by (kind, outcome) (rate(outboxd_attempts_total{kind=~"$kind"}[$__rate_interval])) > 0`, "{{kind}} {{outcome}}"})).
		WithPanel(lines("Attempts, p50 and p95", "", "s", half,
			query{`histogram_quantile(0.5, sum by (kind, le) (rate(outboxd_attempt_duration_seconds_bucket{kind=~"$kind"}[$__rate_interval])))`, "{{kind}} p50"},
			query{`histogram_quantile(0.95, sum by (kind, le) (rate(outboxd_attempt_duration_seconds_bucket{kind=~"$kind"}[$__rate_interval])))`, "{{kind}} p95"})).
		WithPanel(lines("From insert to done, p95", "From due_at where that is later.", "s", half,
			query{`histogram_quantile(0.95, sum by (kind, le) (rate(outboxd_completion_seconds_bucket{kind=~"$kind"}[$__rate_interval])))`, "{{kind}}"})).
		WithPanel(lines("Look-ups", "Questions to the provider about an earlier attempt.", "ops", half, query{`sum by (kind, result) (rate(outboxd_lookups_total{kind=~"$kind"}[$__rate_interval])) > 0`, "{{kind}} {{result}}"}))
}

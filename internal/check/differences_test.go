package check

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// Each row is a difference, and whether a promise rests on it.
func TestDifferences(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		of                broker.Role
		field, want, have string
		status            Status
		fix               string
	}{
		{broker.Jobs, "retention", "WorkQueue", "Limits", Fail, "once it is empty, delete it"},
		{broker.Jobs, "discard", "DiscardNew", "DiscardOld", Fail, "change it with nats stream edit X"},
		{broker.Jobs, "storage", "File", "Memory", Fail, "can't be changed in place"},
		{broker.Jobs, "subjects", "[passcode.send]", "[other]", Fail, "change jobs.subject, or the stream with nats stream edit X"},
		{broker.Jobs, "max_age", "0s", "1h0m0s", Fail, "nats stream edit X"},
		{broker.Jobs, "max_msgs_per_subject", "-1", "100", Fail, ""},
		{broker.Jobs, "max_bytes", "1024", "2048", Warn, "change jobs.max_bytes, or"},
		{broker.Jobs, "max_msgs", "-1", "100", Warn, ""},
		{broker.Jobs, "num_replicas", "3", "1", Warn, "change nats.replicas, or"},
		{broker.Jobs, "duplicate_window", "2m0s", "1m0s", Warn, "change jobs.duplicate_window, or"},
		{broker.Jobs, "allow_direct", "true", "false", Fail, ""},
		{broker.Dead, "allow_direct", "true", "false", Fail, ""},
		{broker.Limits, "allow_direct", "true", "false", Warn, ""},
		{broker.Jobs, "deny_delete", "false", "true", Fail, "can't be changed in place"},
		{broker.Jobs, "republish", `""`, `"a to b"`, Warn, ""},
		{broker.Jobs, "mirror", `""`, `"OTHER"`, Fail, ""},
		{broker.Dead, "max_msgs_per_subject", "1", "-1", Fail, ""},
		{broker.Dead, "discard", "DiscardOld", "DiscardNew", Warn, ""},
		{broker.Dead, "max_age", "72h0m0s", "1h0m0s", Warn, "change dead_letters.retention, or"},
		{broker.Dead, "retention", "Limits", "WorkQueue", Fail, ""},
		{broker.Results, "republish", `"a to b"`, `""`, Fail, "change results.subject, or the bucket with nats stream edit KV_X"},
		{broker.Results, "allow_direct", "true", "false", Fail, ""},
		{broker.Results, "max_msgs_per_subject", "16", "1", Warn, ""},
		{broker.Results, "max_age", "24h0m0s", "1h0m0s", Warn, "change results.retention, or"},
		{broker.Limits, "max_age", "26h0m0s", "1h0m0s", Fail, "change limits.phone, or"},
		{broker.Limits, "max_age", "26h0m0s", "100h0m0s", Warn, ""},
		{broker.Limits, "max_age", "26h0m0s", "0s", Warn, ""},
		{broker.Limits, "max_age", "0s", "1h0m0s", Fail, ""},
		{broker.Limits, "max_age", "x", "y", Fail, ""},
		{broker.Limits, "allow_rollup_hdrs", "true", "false", Fail, ""},
		{broker.Consumer, "ack_policy", "AckExplicit", "AckAll", Fail, "can't be changed in place: delete it"},
		{broker.Consumer, "ack_wait", "30s", "10s", Fail, "change worker.ack_wait, or the consumer with nats consumer edit PASSCODE X"},
		{broker.Consumer, "ack_wait", "30s", "1m0s", Warn, ""},
		{broker.Consumer, "max_deliver", "-1", "5", Fail, "nats consumer edit PASSCODE X"},
		{broker.Consumer, "max_ack_pending", "-1", "1000", Warn, ""},
		{broker.Consumer, "deliver_subject", "none", "set", Fail, "delete it with the nats tool, and run worker provision"},
		{broker.Consumer, "a_field_of_tomorrow", "1", "2", Warn, ""},
	} {
		item := broker.Item{Role: test.of, Kind: broker.KindStream, Name: "X", Stream: "X"}
		switch test.of {
		case broker.Results, broker.Limits:
			item.Kind, item.Stream = broker.KindBucket, "KV_X"
		case broker.Consumer:
			item.Kind, item.Stream = broker.KindConsumer, "PASSCODE"
		default:
		}
		d := broker.Difference{Field: test.field, Want: test.want, Have: test.have}
		j, _ := judge(item, d)
		assert.Equal(t, test.status, j.status, "%s %s: %s for %s", test.of, test.field, test.have, test.want)
		assert.Equal(t, test.status == Fail, j.detail != d.String(), test.field)
		assert.Contains(t, j.fix, test.fix, "%s %s", test.of, test.field)
	}
}

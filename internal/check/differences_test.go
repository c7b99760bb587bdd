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
		of                role
		field, want, have string
		status            Status
		fix               string
	}{
		{jobs, "retention", "WorkQueue", "Limits", Fail, "once it is empty, delete it"},
		{jobs, "discard", "DiscardNew", "DiscardOld", Fail, "change it with nats stream edit X"},
		{jobs, "storage", "File", "Memory", Fail, "can't be changed in place"},
		{jobs, "subjects", "[passcode.send]", "[other]", Fail, "change jobs.subject, or the stream with nats stream edit X"},
		{jobs, "max_age", "0s", "1h0m0s", Fail, "nats stream edit X"},
		{jobs, "max_msgs_per_subject", "-1", "100", Fail, ""},
		{jobs, "max_bytes", "1024", "2048", Warn, "change jobs.max_bytes, or"},
		{jobs, "max_msgs", "-1", "100", Warn, ""},
		{jobs, "num_replicas", "3", "1", Warn, "change nats.replicas, or"},
		{jobs, "duplicate_window", "2m0s", "1m0s", Warn, "change jobs.duplicate_window, or"},
		{jobs, "allow_direct", "true", "false", Fail, ""},
		{dead, "allow_direct", "true", "false", Fail, ""},
		{limits, "allow_direct", "true", "false", Warn, ""},
		{jobs, "deny_delete", "false", "true", Fail, "can't be changed in place"},
		{jobs, "republish", `""`, `"a to b"`, Warn, ""},
		{jobs, "mirror", `""`, `"OTHER"`, Fail, ""},
		{dead, "max_msgs_per_subject", "1", "-1", Fail, ""},
		{dead, "discard", "DiscardOld", "DiscardNew", Warn, ""},
		{dead, "max_age", "72h0m0s", "1h0m0s", Warn, "change dead_letters.retention, or"},
		{dead, "retention", "Limits", "WorkQueue", Fail, ""},
		{results, "republish", `"a to b"`, `""`, Fail, "change results.subject, or the bucket with nats stream edit KV_X"},
		{results, "allow_direct", "true", "false", Fail, ""},
		{results, "max_msgs_per_subject", "16", "1", Warn, ""},
		{results, "max_age", "24h0m0s", "1h0m0s", Warn, "change results.retention, or"},
		{limits, "max_age", "26h0m0s", "1h0m0s", Fail, "change limits.phone, or"},
		{limits, "max_age", "26h0m0s", "100h0m0s", Warn, ""},
		{limits, "max_age", "26h0m0s", "0s", Warn, ""},
		{limits, "max_age", "0s", "1h0m0s", Fail, ""},
		{limits, "max_age", "x", "y", Fail, ""},
		{limits, "allow_rollup_hdrs", "true", "false", Fail, ""},
		{consumer, "ack_policy", "AckExplicit", "AckAll", Fail, "can't be changed in place: delete it"},
		{consumer, "ack_wait", "30s", "10s", Fail, "change worker.ack_wait, or the consumer with nats consumer edit PASSCODE X"},
		{consumer, "ack_wait", "30s", "1m0s", Warn, ""},
		{consumer, "max_deliver", "-1", "5", Fail, "nats consumer edit PASSCODE X"},
		{consumer, "max_ack_pending", "-1", "1000", Warn, ""},
		{consumer, "deliver_subject", "none", "set", Fail, "delete it with the nats tool, and run worker provision"},
		{consumer, "a_field_of_tomorrow", "1", "2", Warn, ""},
	} {
		kind := map[role]broker.Kind{
			jobs: broker.KindStream, dead: broker.KindStream, results: broker.KindBucket, limits: broker.KindBucket, consumer: broker.KindConsumer,
		}[test.of]
		d := broker.Difference{Field: test.field, Want: test.want, Have: test.have}
		j, _ := judge(test.of, broker.Item{Kind: kind, Name: "X"}, "PASSCODE", d)
		assert.Equal(t, test.status, j.status, "%s %s: %s for %s", test.of, test.field, test.have, test.want)
		assert.Equal(t, test.status == Fail, j.detail != d.String(), test.field)
		assert.Contains(t, j.fix, test.fix, "%s %s", test.of, test.field)
	}
}

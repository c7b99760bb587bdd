package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRules breaks one rule at a time, and the problem names the key that is to be
// changed. Settings without a path are values of that key.
func TestRules(t *testing.T) {
	t.Parallel()
	const (
		urls     = "must hold URLs like nats://host:4222, separated by commas"
		one      = "must be the only kind of authentication, beside it there is "
		name     = `must be 1 to 250 bytes without spaces . * > / \`
		bucket   = "must be 1 to 250 of A-Z a-z 0-9 _ -"
		subject  = "must be a subject of at most 128 bytes without wildcards, spaces or empty tokens"
		reserved = "must not begin with a token that NATS keeps for itself"
		pattern  = "must be a subject or a pattern with * and >"
		written  = ": a job could have its result written there"
		duration = "must be a duration longer than 0"
		count    = "must allow 1 to 1000 in a window of 1s to 744h, is "
		host     = "must be host or host:port, without scheme or path"
		masked   = "holds the mask **** that stands for a secret in printed settings"
		example  = "holds the placeholder of an example"
	)
	for _, test := range []struct {
		key, problem string
		settings     []string
	}{
		{"nats.url", urls, []string{"", "nats://a,,nats://b", "nats://", "nats://:4222", "nats://a:0", "nats://a:x", "nats://a/b", "nats://a?b", "nats://a#b"}},
		{"nats.url", "must hold URLs of the schemes nats, tls, ws or wss", []string{"http://a"}},
		{"nats.url", "must not mix ws or wss with other schemes", []string{"ws://a,nats://b"}},
		{"nats.creds", one + "nats.token", []string{`nats={"creds":"/c","token":"t"}`}},
		{"nats.nkey_seed_file", one + "nats.user", []string{`nats={"nkey_seed_file":"/n","user":"u","password":"p"}`}},
		{"nats.creds", one + "nats.nkey_seed_file and nats.token", []string{`nats={"creds":"/c","nkey_seed_file":"/n","token":"t"}`}},
		{"nats.token", one + "credentials in nats.url", []string{`nats={"url":"nats://u:p@h","token":"t"}`}},
		{"nats.password", "must be set together with nats.user", []string{"nats.user=u"}},
		{"nats.user", "must be set together with nats.password", []string{"nats.password=p"}},
		{"nats.tls.key", "must be set together with nats.tls.cert", []string{"nats.tls.cert=/c"}},
		{"nats.tls.cert", "must be set together with nats.tls.key", []string{"nats.tls.key=/k"}},
		{"nats.replicas", "must be 1, 3 or 5, is 0", []string{"0"}},
		{"nats.replicas", "must be 1, 3 or 5, is 2", []string{"2"}},
		{"nats.replicas", "must be 1 with nats.embedded.enabled, is 3: the embedded server is alone", []string{`nats={"replicas":3,"embedded":{"enabled":true}}`}},
		{"nats.embedded.listen", "must be host:port", []string{"4222", `nats.embedded={"enabled":true,"listen":""}`}},
		{"nats.embedded.store_dir", "must not be empty", []string{`nats.embedded={"enabled":true,"store_dir":""}`}},

		{"jobs.stream", name, []string{"", "A.B", "A B", strings.Repeat("A", 251), strings.Repeat("Ä", 126)}},
		{"jobs.consumer", name, []string{"a*"}},
		{"results.bucket", bucket, []string{"a.b"}},
		{"limits.bucket", bucket, []string{"ä", ""}},
		{"dead_letters.stream", "must not name the stream of jobs.stream", []string{"PASSCODE"}},
		{"limits.bucket", "must not name the stream of results.bucket", []string{"passcode-requests"}},
		{"limits.bucket", "must not name the stream of jobs.stream", []string{"jobs.stream=KV_passcode-limits"}},
		{"jobs.subject", subject, []string{"", "passcode.>", "a..b"}},
		{"results.subject", subject, []string{"a b"}},
		{"jobs.subject", reserved, []string{"$JS.API.x"}},
		{"dead_letters.subject", reserved, []string{"_INBOX.x"}},
		{"results.subject", "must not overlap jobs.subject", []string{"passcode"}},
		{"dead_letters.subject", "must not overlap jobs.subject", []string{"jobs.subject=passcode.dead.x"}},
		{"dead_letters.subject", "must not overlap results.subject", []string{"passcode.result.dead", "passcode.result"}},
		{"results.reply_subjects[0]", pattern, []string{`["a.>.b"]`, `["a b"]`}},
		{"results.reply_subjects[1]", pattern, []string{`["a", ""]`}},
		{"results.reply_subjects[0]", "must not reach NATS's own subjects" + written, []string{`[">"]`, `["*.API.>"]`}},
		{"results.reply_subjects[0]", "must not reach the buckets" + written, []string{`["$KV.x.y"]`}},
		{"results.reply_subjects[0]", "must not reach jobs.subject" + written, []string{`["passcode.*"]`}},
		{"results.reply_subjects[0]", "must not reach dead_letters.subject" + written, []string{`["passcode.dead.*.x"]`}},

		{"jobs.max_bytes", "must be a size", []string{"0", "-1"}},
		{"jobs.duplicate_window", duration, []string{"0s"}},
		{"results.retention", duration, []string{"-1h"}},
		{"results.retention", "must be at least worker.passcode_ttl (10m), is 5m: a job may wait that long and must find its record", []string{"5m"}},
		{"results.retention", "must be at least jobs.duplicate_window (25h), is 24h: a repeated job must find its record", []string{"jobs.duplicate_window=25h"}},
		{"dead_letters.retention", duration, []string{"0s"}},
		{"worker.concurrency", "must be at least 1, is 0", []string{"0"}},
		{"worker.passcode_ttl", duration, []string{"0s"}},
		{"worker.ack_wait", duration, []string{"0s"}},
		{"worker.max_interruptions", "must be at least 1, is 0", []string{"0"}},
		{"worker.shutdown_timeout", duration, []string{"0s"}},
		{"retry.initial_interval", duration, []string{"0s"}},
		{"retry.multiplier", "must be at least 1, is 0.9: intervals would shrink", []string{"0.9"}},
		{"retry.randomization_factor", "must be from 0 to 1, is 1.1", []string{"1.1"}},
		{"retry.randomization_factor", "must be from 0 to 1, is -0.1", []string{"-0.1"}},
		{"retry.max_interval", "must be at least retry.initial_interval (500ms), is 100ms", []string{"100ms"}},
		{"retry.max_attempts", "must be at least 1, is 0", []string{"0"}},

		{"limits.phone[0]", count + "0/1m", []string{`["0/1m"]`}},
		{"limits.phone[1]", count + "5/-1h", []string{`["1/1m","5/-1h"]`}},
		{"limits.phone[0]", count + "1001/1h", []string{`["1001/1h"]`}},
		{"limits.phone[0]", count + "5/745h", []string{`["5/745h"]`}},
		{"limits.phone[0]", count + "5/999ms", []string{`["5/999ms"]`}},
		{"limits.phone", "must go from the shortest window to the longest, each once", []string{`["5/1h","1/1m"]`, `["1/1m","5/60s"]`}},

		{"aliyun.endpoint", host, []string{"", "https://dysmsapi.aliyuncs.com", "dysmsapi.aliyuncs.com/", "a:b@c", "host:", "host:70000", "a,b"}},
		{"aliyun.protocol", "must be one of http, https", []string{"ftp"}},
		{"aliyun.access_key_id", example, []string{"<access-key-id>"}},
		{"aliyun.access_key_secret", example, []string{"<access-key-secret>"}},
		{"aliyun.sign_name", example, []string{"<sign-name>"}},
		{"aliyun.access_key_id", masked, []string{"LTAI****"}},
		{"nats.token", masked, []string{"****"}},
		{"nats.url", masked, []string{"nats://a:****@b"}},
		{"aliyun.connect_timeout", duration, []string{"0s"}},
		{"aliyun.timeout", duration, []string{"-5s"}},
		{"aliyun.max_qps", "must be a whole number, 0 or more", []string{"-1"}},
		{"aliyun.in_doubt.lookups", "must hold at least one time", []string{"[]"}},
		{"aliyun.in_doubt.lookups[0]", duration, []string{`["0s","9s"]`}},
		{"aliyun.in_doubt.lookups", "must go up, each later than the one before", []string{`["9s","8s"]`, `["9s","9s"]`}},

		{"http.listen", "must be host:port", []string{"8080", "http://127.0.0.1:8080", "127.0.0.1:http", "127.0.0.1:65536"}},
		{"log.level", "must be one of debug, info, warn, error", []string{"trace"}},
		{"log.format", "must be one of json, text", []string{"xml"}},
	} {
		path, _, _ := strings.Cut(test.key, "[")
		require.True(t, known.isSetting(path), path)
		for _, setting := range test.settings {
			from, _, _ := strings.Cut(setting, "=")
			if from == "" || !known.has(from) {
				from, setting = path, path+"="+setting
			}
			_, err := Load(set(setting))
			problems := listed(t, err)
			require.Len(t, problems, 1, "%s: %s", setting, err)
			assert.Equal(t, test.key, problems[0].Key, setting)
			assert.Equal(t, test.problem, problems[0].Problem, setting)
			if from == path {
				assert.Equal(t, "--set "+path, problems[0].Source, setting)
			}
		}
	}
}

// TestNearMisses are at the edge of a rule, and right.
func TestNearMisses(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{
		"nats.url=127.0.0.1:4222", "nats.url=nats://a, nats://b:4222", "nats.url=ws://a,wss://b:443", "nats.url=tls://u:p@[::1]:4222/",
		`nats={"user":"u","password":"p"}`, `nats.tls={"cert":"/c","key":"/k"}`, "nats.tls.ca=/ca", "nats.replicas=5",
		`nats.embedded={"enabled":false,"listen":"","store_dir":""}`, `nats.embedded={"enabled":true,"listen":":0"}`,
		"jobs.stream=Ä-1_x", "jobs.subject=passcode", "results.subject=passcode.results", "dead_letters.subject=dead",
		`results.reply_subjects=[]`, `results.reply_subjects=["app.*.result","_INBOX.>"]`,
		"jobs.max_bytes=1", "results.retention=10m", "worker.ack_wait=5001ms",
		"retry.multiplier=1", "retry.randomization_factor=0", "retry.randomization_factor=1", "retry.max_interval=500ms", "retry.max_attempts=1",
		"limits.phone=[]", `limits.phone=["1/1s"]`, `limits.phone=["1000/744h"]`, `limits.phone=["9/1m","5/1h"]`,
		"aliyun.endpoint=127.0.0.1:9080", "aliyun.endpoint=[::1]:9080", "aliyun.protocol=HTTP", "aliyun.in_doubt.lookups=[\"5001ms\"]",
		"http.listen=", "http.listen=:8080", "http.listen=localhost:0", "log.level=INFO", "log.format=TEXT",
	} {
		_, err := Load(set(setting))
		assert.NoError(t, err, setting)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"worker.ack_wait=9s":                              "worker.ack_wait: is less than twice aliyun.timeout: a slow broker beside a slow call may give the job to another worker",
		`aliyun.in_doubt.lookups=["1s","5s"]`:             "aliyun.in_doubt.lookups: ends no later than aliyun.timeout: after a call that times out nothing is waited for before it is sent again",
		"worker.shutdown_timeout=4s":                      "worker.shutdown_timeout: is shorter than aliyun.timeout: a worker that stops may leave calls in doubt",
		"limits.phone=[]":                                 "limits.phone: is empty: nothing but Aliyun's own limits keeps a phone from being flooded",
		`limits.phone=["9/1m","5/1h"]`:                    "limits.phone[0]: never applies, since the rule after it allows no more in a longer window",
		"limits.key=s3cret":                               "limits.key: is shorter than 16 characters: numbers could be found out by trying keys",
		"aliyun.protocol=http":                            "aliyun.protocol: is http to a host that is not this machine: phone numbers and passcodes travel in the clear",
		"worker.passcode_ttl=30s":                         "aliyun.in_doubt.lookups: ends after worker.passcode_ttl: a passcode expires before a doubtful send is settled",
		"limits.key=0123456789abcdef":                     "",
		"aliyun.endpoint=localhost:9080":                  "",
		`aliyun={"protocol":"http","endpoint":"[::1]:1"}`: "",
		`aliyun.templates=[{"usage_type":"A","template_code":"1"},{"usage_type":"A","template_code":"2"}]`: "aliyun.templates[1]: has the usage type of aliyun.templates[0], which is the one that is used",
		`aliyun.templates=[{"usage_type":"A","template_code":"1"},{"usage_type":"a","template_code":"2"}]`: "",
	} {
		got, err := Load(set(setting))
		require.NoError(t, err, setting)
		assert.Equal(t, want, strings.Join(got.Warnings, "\n"), setting)
		assert.NotContains(t, strings.Join(got.Warnings, "\n"), "s3cret")
	}
}

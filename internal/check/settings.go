package check

import "strings"

func (r *run) settings() {
	if r.Problems != nil {
		for _, p := range r.Problems.Problems {
			detail := p.Problem
			if p.Source != "" {
				detail += " (" + p.Source + ")"
			}
			r.fail(checkSettings, p.Key, detail, p.Fix)
		}
	}
	for _, warning := range r.Config.Warnings {
		key, text, _ := strings.Cut(warning, ": ")
		r.warn(checkSettings, key, text, "")
	}
	if r.Problems == nil && len(r.Config.Warnings) == 0 {
		r.ok(checkSettings, "", "nothing is wrong with them")
	}
}

// The settings that a check depends on. It is skipped if one of them is wrong.
var (
	connecting = []string{
		"nats.url", "nats.creds", "nats.nkey_seed_file", "nats.user", "nats.password", "nats.token",
		"nats.tls.ca", "nats.tls.cert", "nats.tls.key", "nats.embedded.enabled", "nats.embedded.listen",
	}
	naming = []string{
		"jobs.stream", "jobs.subject", "jobs.consumer", "results.bucket", "results.subject", "results.reply_subjects",
		"dead_letters.stream", "dead_letters.subject", "limits.bucket",
	}
	reaching = []string{"aliyun.endpoint", "aliyun.protocol"}
	signing  = []string{
		"aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.security_token", "aliyun.connector_file",
	}
)

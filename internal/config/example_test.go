package config_test

import (
	"fmt"
	"io/fs"

	"github.com/passcode-worker/passcode-worker/internal/config"
)

// Every mistake is reported at once, wherever it was made.
func ExampleLoad() {
	file := "worker:\n  concurency: 64\nretry:\n  max_attempts: 0\n"
	_, err := config.Load(config.Source{
		Env: []string{"PASSCODE_ALIYUN__TIMEOUT=5"},
		ReadFile: func(name string) ([]byte, error) {
			if name != "worker.yaml" {
				return nil, fs.ErrNotExist
			}
			return []byte(file), nil
		},
	})
	fmt.Println(err)
	// Output:
	// worker.concurency: is no setting; did you mean worker.concurrency? (worker.yaml line 2)
	// aliyun.timeout: must be a duration longer than 0; write a number and its unit, such as 500ms, 30s, 10m or 24h (environment variable PASSCODE_ALIYUN__TIMEOUT)
	// retry.max_attempts: must be at least 1, is 0; write 1 or more (worker.yaml line 4)
}

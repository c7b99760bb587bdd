package passcode_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// A producer fills in a job, encodes it and publishes the bytes on
// passcode.send, with the request id as the Nats-Msg-Id header.
func ExampleJob_Encode() {
	job := passcode.Job{
		RequestID: "01JD8Z3K",
		Phone:     passcode.NewPhone("+8613812345678"),
		Code:      passcode.NewPasscode("093021"),
		UsageType: "SignIn",
		ExpiresAt: time.Date(2026, 3, 1, 8, 10, 0, 0, time.UTC),
	}
	data, err := job.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(data))

	// Printed or logged, the job shows neither the number nor the passcode.
	fmt.Println(job.Phone, job.Code)
	// Output:
	// {"code":"093021","expires_at":"2026-03-01T08:10:00Z","phone":"+8613812345678","request_id":"01JD8Z3K","usage_type":"SignIn"}
	// +86138****5678 ****
}

// The error of a job that breaks the rules names every member that is wrong,
// and never its value.
func ExampleDecode() {
	_, err := passcode.Decode([]byte(`{"request_id":"01JD.8Z3K","phone":"+8613812345678","code":"93"}`))

	var invalid *passcode.InvalidError
	if errors.As(err, &invalid) {
		for _, problem := range invalid.Problems {
			fmt.Printf("%s %s\n", problem.Field, problem.Rule)
		}
	}
	// Output:
	// request_id must be 1 to 64 of A-Z a-z 0-9 _ -
	// code must be 4 to 6 ASCII letters or digits
}

// A result's Final member says whether to go on waiting.
func ExampleStatus_Final() {
	for _, status := range []passcode.Status{passcode.StatusInDoubt, passcode.StatusSent} {
		fmt.Println(status, status.Final())
	}
	// Output:
	// in_doubt false
	// sent true
}

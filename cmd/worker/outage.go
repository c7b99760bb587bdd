package main

import (
	"fmt"
	"time"
)

// outage is the reason not to be ready where Aliyun answers none of this worker's
// calls; none where it does.
func (a *app) outage() []string {
	breaker := a.breaker.Load()
	if breaker == nil {
		return nil
	}
	state := breaker.State()
	if !state.Open {
		return nil
	}
	return []string{fmt.Sprintf("aliyun: down since %s (%s: %s); next probe at %s",
		state.Since.UTC().Format(time.RFC3339), state.Code, state.Message, state.NextProbe.UTC().Format(time.RFC3339))}
}

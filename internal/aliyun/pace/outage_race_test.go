//go:build race

package pace

import "time"

// outageLasts is shorter here: the race detector makes an hour of jobs take minutes.
const outageLasts = 15 * time.Minute

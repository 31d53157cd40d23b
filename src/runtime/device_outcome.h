#pragma once

namespace verdict {

/// What came of the device in a run of a session.
enum class DeviceOutcome {
  kNotThere,  // the engine was not attached to any: the CPU plan has answered, as everywhere below
  kAnswered,  // by the device
  kDeclined,  // shapes or contents that its plan does not take
  kBusy,      // no stream was free in time, or the engine was just being taken off
  kFailed,    // the run failed there: the device is lost, or the engine is off it from now on
};

}  // namespace verdict

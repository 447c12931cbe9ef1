// See events.h.
#include "events.h"

namespace gcr {

const char *event_name(EventType type) {
  switch (type) {
#define GCR_NAME(number, name) \
  case EventType::name:        \
    return #name;
    GCR_EVENT_TYPES(GCR_NAME)
#undef GCR_NAME
  }
  return nullptr;
}

std::optional<EventView> event_at(Bytes bytes) {
  if (bytes.size() < event_head_bytes) return std::nullopt;
  std::uint32_t size = 0;
  EventView view;
  std::memcpy(&size, bytes.data(), 4);
  std::memcpy(&view.type, bytes.data() + 4, 2);
  std::memcpy(&view.flags, bytes.data() + 6, 2);
  std::memcpy(&view.stream, bytes.data() + 8, 8);
  if (size < event_head_bytes || size % 16 || size > bytes.size() || !event_name(view.type)) return std::nullopt;
  view.size = size;
  view.body = bytes.subspan(event_head_bytes, size - event_head_bytes);
  return view;
}

}  // namespace gcr

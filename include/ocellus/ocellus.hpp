// Everything that a program needs to run a model: include this anywhere, and <ocellus/implementation.hpp> in exactly
// one .cpp file. Parts for people who write tools (safetensors, JSON, kernels, conversion) have headers of their own.
#ifndef OCELLUS_OCELLUS_HPP
#define OCELLUS_OCELLUS_HPP

#include "ocellus/chat/chat.hpp"
#include "ocellus/chat/kv_prefix.hpp"
#include "ocellus/chat/sampler.hpp"
#include "ocellus/chat/session.hpp"
#include "ocellus/config.hpp"
#include "ocellus/error.hpp"
#include "ocellus/host.hpp"
#include "ocellus/image/decode.hpp"
#include "ocellus/image/draw.hpp"
#include "ocellus/image/view.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/text/boxes.hpp"
#include "ocellus/text/prompt.hpp"
#include "ocellus/text/tokenizer.hpp"
#include "ocellus/thread_pool.hpp"

#endif  // OCELLUS_OCELLUS_HPP

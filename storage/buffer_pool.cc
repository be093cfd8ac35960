#include "storage/buffer_pool.h"

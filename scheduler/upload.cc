#include "scheduler/upload.h"

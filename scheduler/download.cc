#include "scheduler/download.h"
